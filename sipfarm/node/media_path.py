"""Whether the media of a call can go from phone to phone, or needs the relay (media mode "auto").

It goes direct only where nothing says otherwise: each side tells the address that its packets come
from, so that no NAT stands between, and both addresses are of one network: the same host, the same
private network (/24, /64), or the public one. Whatever cannot be told is relayed.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final, Literal, Protocol

from sipfarm.media.sdp import SdpError, parse_sdp
from sipfarm.native import Uri
from sipfarm.signaling.routing import Target

PRIVATE_PREFIX: Final = {4: 24, 6: 64}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network | tuple[int, str]
"""Of a phone that no NAT stands before."""


class _Source(Protocol):
    @property
    def host(self) -> str: ...


class Offer(Protocol):
    """The INVITE as it was received."""

    @property
    def body(self) -> bytes: ...
    @property
    def hop(self) -> _Source: ...


def media_path(caller: Network | None, targets: Iterable[Target]) -> Literal["relay", "direct"]:
    """What mode "auto" comes to for a call, whichever target answers."""
    if caller is None or any(_network_of_target(flow) != caller for flow in _flows(targets)):
        return "relay"
    return "direct"


def _flows(targets: Iterable[Target]) -> Iterable[Target]:
    for target in targets:
        yield target
        yield from target.others


def network_of_caller(invite: Offer) -> Network | None:
    """Nothing where it cannot be told."""
    try:
        description = parse_sdp(invite.body)
    except SdpError:
        return None
    told = {
        (media.connection or description.connection)
        for media in description.media
        if not media.is_refused
    }
    addresses = {connection.address if connection else "" for connection in told}
    if addresses != {invite.hop.host.strip("[]")}:
        return None
    return _network(invite.hop.host)


def _network_of_target(target: Target) -> Network | None:
    if target.route:
        return None
    try:
        host = Uri.parse(target.uri).host
    except ValueError:
        return None
    _, _, address = target.received.partition(":")
    received, _, _ = address.rpartition(":")
    if received and received.strip("[]") != host.strip("[]"):
        return None
    return _network(host)


def _network(host: str) -> Network | None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    if address.is_loopback:
        return (address.version, "loopback")
    if address.is_unspecified or address.is_link_local or address.is_multicast:
        return None
    if address.is_global:
        return (address.version, "global")
    return ipaddress.ip_network((address, PRIVATE_PREFIX[address.version]), strict=False)
