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


class RequestView(Protocol):
    """A received request."""

    @property
    def method(self) -> str: ...
    @property
    def request_uri(self) -> str: ...
    @property
    def call_id(self) -> str: ...
    @property
    def from_tag(self) -> str: ...
    @property
    def to_tag(self) -> str: ...
    @property
    def cseq(self) -> int: ...
    @property
    def source(self) -> tuple[str, int]: ...
    @property
    def transport(self) -> str:
        """`udp`, `tcp`, `tls`, `ws` or `wss`."""
        ...

    def header(self, name: str, /) -> str | None:
        """The first value of that name, unfolded."""
        ...

    def headers(self, name: str, /) -> list[str]:
        """The value of each line of that name."""
        ...

    def values(self, name: str, /) -> list[str]:
        """The comma-separated values of all lines of that name."""
        ...


class Syntax(msgspec.Struct, frozen=True):
    """The parsers a transaction user works with; each raises ValueError on what is malformed."""

    uri: Callable[[str], UriView]
    name_addr: Callable[[str], NameAddrView]


class OwnAddresses(msgspec.Struct, frozen=True):
    """Where the farm itself is reached: all it listens on or advertises, IPv6 in brackets."""

    hosts: frozenset[str]
    ports: frozenset[int]

    def include(self, host: str, port: int) -> bool:
        """Whether a URI with this host and port (0: absent) leads to the farm."""
        return host in self.hosts and (port or DEFAULT_PORT) in self.ports


def is_address(host: str) -> bool:
    """Whether a URI's host is an IP address: a top label starts with a letter (RFC 3261 §25.1)."""
    return host.startswith("[") or host.rpartition(".")[2][:1].isdigit()


def canonical_host(host: str) -> str:
    """A host in lower case and without the root's dot."""
    return host.lower().removesuffix(".")


def transaction_of(request: RequestView) -> int:
    """A number that a request and its retransmissions share in this process (RFC 3261 §17.2.3).

    Taken over the whole top Via, so a transaction without a modern branch is told apart too.
    """
    return hash((request.header("Via"), request.call_id, request.cseq, request.method))
