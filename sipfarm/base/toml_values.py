"""Readers of single values of a TOML file: each gives the value, or says what is allowed."""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from sipfarm.base.net import parse_ip
from sipfarm.base.toml_reader import Reader

T = TypeVar("T")
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def text(value: object) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text in quotes, not empty")
    return value


def text_of(parse: Callable[[str], T]) -> Reader[T]:
    """A string that `parse` makes a value of."""
    return lambda value: parse(text(value))


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def integer(lowest: int, highest: int) -> Reader[int]:
    """A whole number within bounds."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ValueError(f"{_shown(value)}: must be a whole number from {lowest} to {highest}")
        return value

    return read


def choice(allowed: Sequence[T]) -> Reader[T]:
    """One of a few words."""

    def read(value: object) -> T:
        for item in allowed:
            if value == item:
                return item
        words = " and ".join(f'"{item}"' for item in allowed)
        raise ValueError(f"{_shown(value)}: allowed are {words}")

    return read


def list_of(read: Reader[T], count_max: int) -> Reader[tuple[T, ...]]:
    """A list, each item once."""

    def read_all(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise ValueError(f"{_shown(value)}: must be a list in square brackets")
        items = cast("list[object]", value)  # of whatever; read looks at each
        if len(items) > count_max:
            raise ValueError(f"{len(items)} items: allowed are {count_max}")
        values = tuple(read(item) for item in items)
        for item in values:
            if values.count(item) > 1:
                raise ValueError(f'"{item}" stands there twice')
        return values

    return read_all


def ip_network(value: str) -> IpNetwork:
    """A network in CIDR notation, or one address."""
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        raise ValueError(f'"{value}" is no network: write it as in 10.0.0.0/8') from None


def ip_text(value: str) -> str:
    """An IP address in its canonical form, IPv6 without brackets."""
    ip = parse_ip(value)
    if ip is None:
        raise ValueError(f'"{value}" is no IP address')
    return str(ip)


def function_name(value: str) -> str:
    """The name of a Python function, `package.module:function`."""
    if not _FUNCTION.fullmatch(value):
        raise ValueError(f'"{value}": must name a function, as in package.module:function')
    return value


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()[:60]
