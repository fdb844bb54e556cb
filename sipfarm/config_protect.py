"""`[protect]`: how far a member goes with senders who have proven nothing."""

import ipaddress

import msgspec

from sipfarm.base.toml_reader import TomlTable
from sipfarm.base.toml_values import IpNetwork, integer, ip_network, list_of, text_of

EXEMPT_MAX = 256
LOOPBACK: tuple[IpNetwork, ...] = (
    ipaddress.IPv4Network("127.0.0.0/8"),
    ipaddress.IPv6Network("::1/128"),
)


class ProtectConfig(msgspec.Struct, frozen=True, kw_only=True):
    """By source: an IPv4 address, or an IPv6 network of 64 bits; `[sip] trusted` is exempt."""

    unproven_per_second: int = 200
    """New requests of one source that has proven nothing; ten times as many may come at once."""
    unproven_total_per_second: int = 5_000
    """Of all such sources together."""
    faults_max: int = 30
    """Wrong passwords, malformed requests, requests for foreign domains; then it is banned."""
    fault_forgiven_s: int = 10
    """One fault is forgiven each time."""
    ban_s: int = 300
    exempt: tuple[IpNetwork, ...] = LOOPBACK
    """Never held off."""


def protect_of(table: TomlTable) -> ProtectConfig:
    """Read the section; a 0 switches a bound off."""
    usual = ProtectConfig()
    rate = integer(0, 1_000_000)
    return ProtectConfig(
        unproven_per_second=table.take("unproven_per_second", rate, usual.unproven_per_second),
        unproven_total_per_second=table.take(
            "unproven_total_per_second", rate, usual.unproven_total_per_second
        ),
        faults_max=table.take("faults_max", integer(0, 1_000_000), usual.faults_max),
        fault_forgiven_s=table.take("fault_forgiven_s", integer(1, 86_400), usual.fault_forgiven_s),
        ban_s=table.take("ban_s", integer(1, 86_400), usual.ban_s),
        exempt=table.take("exempt", list_of(text_of(ip_network), EXEMPT_MAX), usual.exempt),
    )
