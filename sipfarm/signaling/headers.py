"""Header values that transaction users read and write: digest, Contact, Expires, tags, Date.

A reader returns None for what is malformed and raises nothing.
"""

import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from sipfarm.native import Credentials, Message
from sipfarm.signaling.message import NameAddrView, Syntax, UriView

DIGEST_CHARS_MAX: Final = 4_096  # of one Authorization or WWW-Authenticate value
Q_MAX: Final = 1_000

# One auth-param and its comma (RFC 7235 §2.1), or all that is left of a value which has none.
_AUTH_PARAM: Final = re.compile(
    r"""[ \t]*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)[ \t]*+=[ \t]*+"""
    r"""(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^\s",;]++))[ \t]*+(?:,|\Z)|(.+)""",
    re.DOTALL,
)
# As they are written everywhere; any other spelling is brought to lower case.
_AUTH_PARAM_NAMES: Final = frozenset(
    ("username", "realm", "nonce", "uri", "response", "algorithm", "cnonce", "qop", "nc", "opaque")
)
_DIGEST_CHARS: Final = len("Digest ")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)


class Challenge(msgspec.Struct, frozen=True):
    """The digest challenge of a WWW-Authenticate or Proxy-Authenticate (RFC 7616 §3.3)."""

    realm: str
    nonce: str
    algorithm: str = ""
    qop: str = ""
    opaque: str = ""
    stale: bool = False


def _auth_params(value: str) -> dict[str, str] | None:
    """The auth-params after `Digest`; None if one is malformed or stands twice (RFC 7616 §3.4)."""
    if not is_digest(value) or len(value) > DIGEST_CHARS_MAX:
        return None
    found = _AUTH_PARAM.findall(value, _DIGEST_CHARS)
    if not found or found[-1][3]:
        return None
    params = {name: quoted or token for name, quoted, token, _ in found}
    if not params.keys() <= _AUTH_PARAM_NAMES:
        params = {name.lower(): value for name, value in params.items()}
    return params if len(params) == len(found) else None


def is_digest(value: str) -> bool:
    """Whether a value's scheme is Digest; other schemes are none of ours (RFC 3261 §22)."""
    return value[:_DIGEST_CHARS].lower() in ("digest ", "digest\t")


def format_credentials(credentials: Credentials) -> str:
    """Write an Authorization or Proxy-Authorization value (RFC 7616 §3.4)."""
    parts = [
        f'Digest username="{_escaped(credentials.username)}"',
        f'realm="{_escaped(credentials.realm)}"',
        f'nonce="{credentials.nonce}"',
        f'uri="{credentials.uri}"',
        f'response="{credentials.response}"',
    ]
    if credentials.algorithm:
        parts.append(f"algorithm={credentials.algorithm}")
    if credentials.qop:
        parts.append(f'cnonce="{credentials.cnonce}", qop={credentials.qop}, nc={credentials.nc}')
    return ", ".join(parts)


def parse_challenge(value: str) -> Challenge | None:
    """Read the digest challenge of a WWW-Authenticate or Proxy-Authenticate (RFC 3261 §20.44)."""
    params = _auth_params(value)
    if params is None or "realm" not in params or "nonce" not in params:
        return None
    return Challenge(
        _unescaped(params["realm"]),
        params["nonce"],
        params.get("algorithm", ""),
        params.get("qop", ""),
        params.get("opaque", ""),
        params.get("stale", "").lower() == "true",
    )


def format_challenge(challenge: Challenge) -> str:
    """Write a WWW-Authenticate or Proxy-Authenticate value (RFC 7616 §3.3)."""
    opaque = f', opaque="{challenge.opaque}"' if challenge.opaque else ""
    stale = ", stale=true" if challenge.stale else ""
    algorithm = f", algorithm={challenge.algorithm}" if challenge.algorithm else ""
    qop = f', qop="{challenge.qop}"' if challenge.qop else ""
    return (
        f'Digest realm="{_escaped(challenge.realm)}", nonce="{challenge.nonce}"'
        f"{algorithm}{qop}{opaque}{stale}"
    )


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def format_q(q: int) -> str:
    """Write thousandths as a qvalue."""
    return f"{q // Q_MAX}.{q % Q_MAX:03}".rstrip("0").rstrip(".")


def option_tags(request: Message, name: str) -> tuple[str, ...]:
    """The option tags of Supported, Require or Proxy-Require, in lower case (RFC 3261 §20.32)."""
    return tuple([value.strip().lower() for value in request.values(name)])


def parse_name_addr(syntax: Syntax, text: str) -> NameAddrView | None:
    """Read a From, To, Route or Contact value."""
    try:
        return syntax.name_addr(text)
    except ValueError:
        return None


def parse_uri(syntax: Syntax, text: str) -> UriView | None:
    """Read a URI."""
    try:
        return syntax.uri(text)
    except ValueError:
        return None


def quoted(text: str) -> str:
    """A quoted-string (RFC 3261 §25.1)."""
    return f'"{_escaped(text)}"'


def format_date(wall_ms: int) -> str:
    """A Date value (RFC 3261 §20.17)."""
    when = datetime.fromtimestamp(wall_ms // 1_000, UTC)
    return (
        f"{_DAYS[when.weekday()]}, {when.day:02} {_MONTHS[when.month - 1]} {when.year}"
        f" {when:%H:%M:%S} GMT"
    )
