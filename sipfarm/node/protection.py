"""What the engine is told of `[protect]` (docs/adr/0010-protection-by-source.md)."""

from sipfarm.config import Config
from sipfarm.native import Protection


def protection_of(config: Config) -> Protection | None:
    """Nothing where a balancer rewrites addresses: all phones come from one source there."""
    if config.sip.reply_via == "receiver":
        return None
    protect = config.protect
    return Protection(
        unproven_per_s=protect.unproven_per_second,
        unproven_total_per_s=protect.unproven_total_per_second,
        faults_max=protect.faults_max,
        fault_forgiven_ms=protect.fault_forgiven_s * 1_000,
        ban_ms=protect.ban_s * 1_000,
        exempt=[
            (str(network.network_address), network.prefixlen)
            for network in (*config.sip.trusted, *protect.exempt)
        ],
    )
