"""The configuration of one member."""

from sipfarm.config.contradictions import contradictions
from sipfarm.config.reader import load, parse
from sipfarm.config.sections import (
    STOCK_ROUTING,
    AdminConfig,
    Balancing,
    BusConfig,
    Config,
    FarmConfig,
    MediaConfig,
    MemberConfig,
    ProtectConfig,
    SipConfig,
)

__all__ = [
    "STOCK_ROUTING",
    "AdminConfig",
    "Balancing",
    "BusConfig",
    "Config",
    "FarmConfig",
    "MediaConfig",
    "MemberConfig",
    "ProtectConfig",
    "SipConfig",
    "contradictions",
    "load",
    "parse",
]
