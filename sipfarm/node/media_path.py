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
from sipfarm.signaling.routing import Forward, Target

PRIVATE_PREFIX: Final = {4: 24, 6: 64}

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network | tuple[int, str]


class _Source(Protocol):
    @property
    def host(self) -> str: ...


class Offer(Protocol):
    """The INVITE as it was received."""

    @property
    def body(self) -> bytes: ...
    @property
    def hop(self) -> _Source: ...


def media_path(invite: Offer, forward: Forward) -> Literal["relay", "direct"]:
    """What mode "auto" comes to for this call, whichever target answers."""
    caller = _network_of_offer(invite)
    if caller is None:
        return "relay"
    for step in forward.steps:
        if any(_network_of_target(flow) != caller for flow in _flows(step.targets)):
            return "relay"
    return "direct"


def _flows(targets: Iterable[Target]) -> Iterable[Target]:
    for target in targets:
        yield target
        yield from target.others


def _network_of_offer(invite: Offer) -> _Network | None:
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


def _network_of_target(target: Target) -> _Network | None:
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


def _network(host: str) -> _Network | None:
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
