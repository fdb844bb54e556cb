"""What is wrong between keys that are each well by themselves."""

from sipfarm.base.net import HostPort, Transport
from sipfarm.base.roles import fault_of
from sipfarm.config.sections import AdminConfig, Config, FarmConfig


def contradictions(config: Config) -> list[tuple[str, str, str]]:
    """All of them: (section, key, reason)."""
    return [
        *_farm_contradictions(config.farm),
        *_role_contradictions(config),
        *_sip_contradictions(config),
        *_media_contradictions(config),
        *_admin_contradictions(config.admin),
    ]


def _farm_contradictions(farm: FarmConfig) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    if farm.secret_previous == farm.secret:
        found.append(("farm", "secret_previous", "is the same as the secret"))
    if farm.suspect_after_ms >= farm.dead_after_ms:
        reason = f"must be below dead_after_ms, which is {farm.dead_after_ms}"
        found.append(("farm", "suspect_after_ms", reason))
    return found


def _role_contradictions(config: Config) -> list[tuple[str, str, str]]:
    roles = config.member.roles
    fault = fault_of(roles, by_flow=config.farm.balancing == "flow")
    if fault:
        return [("member", "roles", fault)]
    unbound = "edge" not in roles and any(not listen.address.port for listen in config.sip.listen)
    reason = "a member that binds none of them must be told the port that the others have"
    return [("sip", "listen", reason)] if unbound else []


def _sip_contradictions(config: Config) -> list[tuple[str, str, str]]:
    sip = config.sip
    found: list[tuple[str, str, str]] = []
    if not sip.listen:
        found.append(("sip", "listen", "says where phones reach the farm: one at least is needed"))
    if sip.advertise is None and any(listen.address.is_unspecified for listen in sip.listen):
        reason = "listening on all addresses needs advertise: the one that others reach us by"
        found.append(("sip", "listen", reason))
    if (sip.certificate is None) != (sip.key is None):
        lone = "certificate" if sip.key is None else "key"
        found.append(("sip", lone, "certificate and key go together: the other is missing"))
    secure = [listen for listen in sip.listen if listen.transport.is_secure]
    if secure and sip.certificate is None:
        found.append(("sip", "listen", f"{secure[0]} needs certificate and key"))
    taken: dict[HostPort, str] = {}
    streams = [
        *((listen.address, str(listen)) for listen in sip.listen if listen.transport.is_stream),
        (config.bus.listen, "[bus] listen"),
        (config.admin.listen, "[admin] listen"),
    ]
    for address, what in streams:
        if address.port and address in taken:
            found.append(("sip", "listen", f"{taken[address]} and {what} are the same address"))
        taken.setdefault(address, what)
    return found


def _media_contradictions(config: Config) -> list[tuple[str, str, str]]:
    media = config.media
    found: list[tuple[str, str, str]] = []
    if HostPort(media.address, 0).is_unspecified and media.advertise is None:
        found.append(("media", "address", "all addresses need advertise: the one that SDP tells"))
    if media.advertise is not None and HostPort(media.advertise, 0).is_unspecified:
        found.append(("media", "advertise", "must be one address that phones can reach"))
    for listen in config.sip.listen:
        port = listen.address.port
        if listen.transport is Transport.UDP and media.ports.first <= port <= media.ports.last:
            found.append(("media", "ports", f"{listen} is within {media.ports}"))
    return found


def _admin_contradictions(admin: AdminConfig) -> list[tuple[str, str, str]]:
    ip = admin.listen.ip
    if admin.token is None and (ip is None or not ip.is_loopback):
        return [
            ("admin", "listen", f"{admin.listen} is not loopback: token or token_env is needed")
        ]
    return []
