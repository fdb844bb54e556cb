"""What the members of `sipfarm run` are: one configuration, shared out among them (DESIGN §6)."""

from collections.abc import Sequence
from typing import Final

import msgspec

from sipfarm.base.errors import StartError
from sipfarm.base.net import HostPort, Listen, PortRange, Transport
from sipfarm.base.secrets import Secret
from sipfarm.config import (
    AdminConfig,
    BusConfig,
    Config,
    FarmConfig,
    MediaConfig,
    MemberConfig,
    SipConfig,
    contradictions,
)

MEMBERS_MAX: Final = 64  # on one machine
BUS: Final = HostPort("127.0.0.1", 0)
MEDIA_PORTS: Final = (PortRange(20_000, 29_999), PortRange(40_000, 49_999))
"""The first that the SIP port is not within."""


def member_name(index: int) -> str:
    """`m1` for index 0."""
    return f"m{index + 1}"


def stock_config(listen: HostPort, admin: HostPort, store: str, secret: Secret) -> Config:
    """The farm that runs where the operator has written no file."""
    ports = next(ports for ports in MEDIA_PORTS if not ports.first <= listen.port <= ports.last)
    return Config(
        farm=FarmConfig(secret=secret, store=store),
        member=MemberConfig(name=member_name(0)),
        sip=SipConfig(listen=listens_at(listen)),
        bus=BusConfig(listen=BUS),
        media=MediaConfig(address=listen.host, ports=ports),
        admin=AdminConfig(listen=admin),
    )


def listens_at(address: HostPort) -> tuple[Listen, ...]:
    return (Listen(Transport.UDP, address), Listen(Transport.TCP, address))


def with_listen(config: Config, address: HostPort) -> Config:
    """The configuration, but listening here over UDP and TCP; TLS and WebSocket stay."""
    instead = {Transport.UDP, Transport.TCP}
    kept = tuple([listen for listen in config.sip.listen if listen.transport not in instead])
    sip = msgspec.structs.replace(config.sip, listen=(*listens_at(address), *kept))
    return msgspec.structs.replace(config, sip=sip)


def with_admin(config: Config, address: HostPort) -> Config:
    admin = msgspec.structs.replace(config.admin, listen=address)
    return msgspec.structs.replace(config, admin=admin)


def share_out(config: Config, count: int, bus_ports: Sequence[int]) -> tuple[Config, ...]:
    """The members' configurations: the SIP address is shared, each has its own name, media ports,
    bus address, admin address and packet log. `bus_ports` are taken where the bus port is 0.

    StartError where there is not enough to share, or a share contradicts itself.
    """
    if not 1 <= count <= MEMBERS_MAX:
        raise StartError(f"{count} members: allowed are 1 to {MEMBERS_MAX} on one machine")
    if count > 1 and any(not listen.address.port for listen in config.sip.listen):
        raise StartError("[sip] listen: members that share a port need one that is not 0")
    if max(config.admin.listen.port, config.bus.listen.port) + count > 65_535:
        raise StartError(f"there are not {count} ports above the admin and bus ports")
    members = tuple(_member(config, index, count, bus_ports) for index in range(count))
    for section, key, reason in (found for member in members for found in contradictions(member)):
        raise StartError(f"[{section}] {key}: {reason}")
    return members


def _member(config: Config, index: int, count: int, bus_ports: Sequence[int]) -> Config:
    try:
        ports = config.media.ports.share(index, count)
    except ValueError as error:
        raise StartError(f"[media] ports: {error}") from error
    bus, admin = config.bus.listen, config.admin.listen
    name, log = member_name(index), config.member.packet_log
    own_log = log.with_stem(f"{log.stem}-{name}") if log else None
    bus_port = bus.port + index if bus.port else bus_ports[index]
    replace = msgspec.structs.replace
    return replace(
        config,
        member=replace(config.member, name=name, packet_log=own_log),
        bus=replace(config.bus, listen=bus.with_port(bus_port)),
        media=replace(config.media, ports=ports),
        admin=replace(config.admin, listen=admin.with_port(admin.port + index + 1)),
    )
