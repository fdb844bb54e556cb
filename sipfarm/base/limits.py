"""Bounds of what can grow in Python; the native engines have their own `limits.hpp`."""

from typing import Final

MESSAGE_BYTES_MAX: Final = 65_535
"""One SIP message, headers and body: the largest UDP datagram."""
DATAGRAM_CONGESTION_SAFE_BYTES: Final = 1_300
"""A larger request goes over a stream where the path MTU is unknown (RFC 3261 §18.1.1)."""

AOR_BYTES_MAX: Final = 256
URI_BYTES_MAX: Final = 1_024
CONTACTS_PER_REGISTER_MAX: Final = 16
BINDINGS_PER_AOR_MAX: Final = 16
PATH_PER_BINDING_MAX: Final = 8
TARGETS_PER_REQUEST_MAX: Final = 32
"""Branches of one fork, over all its steps."""

ALIASES_PER_ACCOUNT_MAX: Final = 32
NUMBERS_PER_ACCOUNT_MAX: Final = 64

MEMBERS_MAX: Final = 128
"""Members in one view."""
BUS_FRAME_BYTES_MAX: Final = 1 << 20
HOPS_MAX: Final = 2
"""Members that a packet may be passed on by (DESIGN §4)."""

LABEL_SETS_PER_METRIC_MAX: Final = 256

assert CONTACTS_PER_REGISTER_MAX <= BINDINGS_PER_AOR_MAX <= TARGETS_PER_REQUEST_MAX
assert AOR_BYTES_MAX <= URI_BYTES_MAX
assert MESSAGE_BYTES_MAX < BUS_FRAME_BYTES_MAX, "a frame carries at least one message"
