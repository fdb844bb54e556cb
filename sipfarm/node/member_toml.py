"""A member's configuration written as the TOML that it is read from (DESIGN §6)."""

from collections.abc import Iterator
from typing import cast

import msgspec

from sipfarm.base.secrets import Secret
from sipfarm.config import Config


def toml_of(config: Config) -> str:
    """The text of a member's file. It holds the farm's secret: for the owner's eyes only."""
    sections = {
        "farm": config.farm,
        "member": config.member,
        "sip": config.sip,
        "protect": config.protect,
        "bus": config.bus,
        "media": config.media,
        "admin": config.admin,
    }
    return "\n".join(line for name, value in sections.items() for line in _section(name, value))


def _section(name: str, section: msgspec.Struct) -> Iterator[str]:
    yield f"[{name}]"
    for key in section.__struct_fields__:
        value: object = getattr(section, key)
        if value is not None:
            yield f"{key} = {_value(value)}"
    yield ""


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        # isinstance leaves open what a tuple holds; the sections hold texts and their like.
        items = cast("tuple[object, ...]", value)
        return f"[{', '.join(_value(item) for item in items)}]"
    return _text(value.reveal() if isinstance(value, Secret) else str(value))


def _text(text: str) -> str:
    """A basic string: as in JSON, but for DEL, which TOML wants escaped."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
