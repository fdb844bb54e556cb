"""The values that members share through the store: provisioned names, bindings, members.

They are stored as msgpack arrays, so two releases can share a store under one rule: a new field is
appended, with a default; no field is ever removed, renamed or moved. Fields named `..._wall_ms` are
wall clock, since members on several machines compare them.
"""

from enum import StrEnum
from typing import Final, Literal

import msgspec

from sipfarm.base.limits import BINDINGS_PER_AOR_MAX
from sipfarm.base.roles import ROLES

MEMBER_NUMBER_MAX: Final = (1 << 14) - 1
EPOCH_MAX: Final = (1 << 21) - 1


SrtpPolicy = Literal["off", "offer", "require"]
"""What a domain wants of SRTP: nothing, SRTP where the peer has it too, SRTP or no media."""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """What goes into the store."""


class Domain(Record, frozen=True):
    """A SIP domain the farm is responsible for. `certificate` and `key` are paths of PEM files."""

    name: str
    certificate: str | None = None
    key: str | None = None
    media_address: str | None = None
    srtp: SrtpPolicy = "off"  # of calls that a task answers; forwarded ones pass as they are


class Account(Record, frozen=True):
    """A user of a domain. Of the password only the digest HA1s are kept (RFC 7616 §3.4.2), realm =
    domain.
    """

    domain: str
    name: str
    ha1_md5: str
    ha1_sha256: str
    aliases: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    voicemail: bool = False

    def __repr__(self) -> str:
        return f"Account(domain={self.domain!r}, name={self.name!r}, ha1=***)"


class Application(Record, frozen=True):
    """A name of a domain that is answered by a task (`module:function`; empty: the stock one of
    that name).
    """

    domain: str
    name: str
    task: str = ""
    numbers: tuple[str, ...] = ()


class TargetKind(StrEnum):
    """What a number of a domain stands for."""

    ACCOUNT = "account"
    APPLICATION = "application"


class NumberTarget(Record, frozen=True):
    """Where a number or an alias of a domain leads."""

    kind: TargetKind
    name: str


class Binding(Record, frozen=True):
    """One contact of an address-of-record (RFC 3261 §10, RFC 3327, RFC 5626).

    `contact` is the URI as the phone wrote it; `contact_key` its canonical text: two contacts are
    equal by RFC 3261 §19.1.4 exactly when their keys are equal (the caller computes it).
    """

    aor: str
    contact: str
    contact_key: str
    call_id: str
    cseq: int
    expires_at_wall_ms: int
    instance_id: str = ""
    reg_id: int = 0  # 0: not an outbound registration
    path: tuple[str, ...] = ()
    q: int = 1000  # 0..1000
    received: str = ""  # "udp:192.0.2.1:5060": where the REGISTER came from
    flow: str = ""  # owner mark of the flow it was made over
    user_agent: str = ""


class Removal(Record, frozen=True):
    """A contact that a REGISTER names with expires 0 (RFC 3261 §10.2.2)."""

    contact_key: str
    instance_id: str = ""
    reg_id: int = 0


class RegisterUpdate(Record, frozen=True):
    """What one REGISTER asks of an address-of-record (RFC 3261 §10.3 steps 6 and 7).

    Each binding in `contacts` carries this `call_id` and `cseq`. `wildcard` is `Contact: *` with
    expires 0. An update with nothing in it is a query.
    """

    aor: str
    call_id: str
    cseq: int
    contacts: tuple[Binding, ...] = ()
    removals: tuple[Removal, ...] = ()
    wildcard: bool = False
    max_bindings: int = BINDINGS_PER_AOR_MAX


RegisterStatus = Literal["applied", "repeated", "out_of_order", "too_many"]


class RegisterOutcome(Record, frozen=True):
    """How a register update went, and the live bindings after it, highest q first.

    `applied`: done, and durable. `repeated`: exactly this update was applied before, nothing
    changed; it is answered like `applied`. `out_of_order`: an older CSeq of the same Call-ID,
    nothing changed (500, RFC 3261 §10.3). `too_many`: more bindings than `max_bindings`, nothing
    changed (403).
    """

    status: RegisterStatus
    bindings: tuple[Binding, ...]


class MemberState(StrEnum):
    """How a member stands in the registry; failure detection is the bus's, not the registry's."""

    ALIVE = "alive"
    TOMBSTONED = "tombstoned"
    LEFT = "left"


class MemberRecord(Record, frozen=True):
    """One member of the farm. (`number`, `epoch`) is its fencing token and stands in each mark it
    mints.
    """

    name: str
    number: int  # 1..MEMBER_NUMBER_MAX
    epoch: int  # 1..EPOCH_MAX: its incarnation
    bus: str
    admin: str
    pid: int
    state: MemberState
    lease_until_wall_ms: int
    roles: tuple[str, ...] = ROLES


class Snapshot(Record, frozen=True):
    """A piece of a member's running state, kept for its heir. `owner` is the incarnation that began
    it, for good; `holder` the one that has it now. Both are `NUMBER.EPOCH` by convention. `takes`
    counts the heirs since it was written.
    """

    owner: str
    key: str
    value: bytes
    expires_at_wall_ms: int
    holder: str = ""
    takes: int = 0


class DomainChange(Record, frozen=True):
    """What a provisioning of a domain changed; nothing at all when it was a repeat."""

    domain: str
    revision: int
    added: tuple[str, ...] = ()  # "account alice", "application echo", "domain example.test"
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def epoch_is_newer(epoch: int, than: int) -> bool:
    """Compare two epochs of one number; they wrap, so by serial arithmetic (RFC 1982)."""
    return epoch != than and (epoch - than) % EPOCH_MAX <= EPOCH_MAX // 2
