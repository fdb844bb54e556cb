"""What a transaction user sees of a message: the face that the native classes have.

Text is UTF-8; bytes that are not are kept as lone surrogates (`surrogateescape`), so `octets`
gives back what came.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

DEFAULT_PORT: Final = 5060


class UriView(Protocol):
    """A URI (RFC 3261 §19.1). Of a `tel` URI `user` is the number and `host` is empty."""

    @property
    def scheme(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int:
        """0 where the URI has none."""
        ...

    @property
    def params(self) -> Mapping[str, str]:
        """Names in lower case, "" for a parameter without a value."""
        ...

    @property
    def text(self) -> str: ...
    def aor(self) -> str:
        """The canonical address-of-record (RFC 3261 §10.3 step 5)."""
        ...


class NameAddrView(Protocol):
    """A name-addr or addr-spec with its header parameters (RFC 3261 §20.10)."""

    @property
    def uri(self) -> UriView: ...
    @property
    def params(self) -> Mapping[str, str]:
        """Names in lower case, values without their quotes."""
        ...


class Syntax(msgspec.Struct, frozen=True):
    """The parsers a transaction user works with; each raises ValueError on what is malformed."""

    uri: Callable[[str], UriView]
    name_addr: Callable[[str], NameAddrView]


def is_address(host: str) -> bool:
    """Whether a URI's host is an IP address: a top label starts with a letter (RFC 3261 §25.1)."""
    return host.startswith("[") or host.rpartition(".")[2][:1].isdigit()


def canonical_host(host: str) -> str:
    """A host in lower case and without the root's dot."""
    return host.lower().removesuffix(".")
