"""How two members make sure of each other at the start of a link.

    dialer                              acceptor
    Hello(who, versions, nonce)   →
                                  ←     Hello(who, versions, nonce)
    Proof(macs)                   →
                                  ←     Proof(mac)

Each proof is HMAC-SHA256 under the farm's bus key over the direction and all that both Hellos said:
a proof of one handshake is worth nothing in another, nor in the other direction, and nobody between
can lower the version. The dialer shows first, so that nobody gets a proof by asking. It shows one
for each secret it goes by; the acceptor answers under the one that it knows: thus secrets are
changed one member after the other.

What follows on the link is protected by the network it runs in, or by TLS.
"""

import hashlib
import hmac
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from sipfarm.base.errors import PeerError
from sipfarm.base.farm_view import Incarnation
from sipfarm.cluster.wire import (
    SECRETS_MAX,
    VERSION_MAX,
    VERSION_MIN,
    Frame,
    Hello,
    Proof,
    Received,
    Refusal,
    common_version,
)

_LABEL: Final = b"sipfarm bus 1 "


class Role(StrEnum):
    """Which side of a link this is."""

    DIALER = "dialer"
    ACCEPTOR = "acceptor"


class RefusedFor(StrEnum):
    """Why there is no link."""

    WRONG_SECRET = "wrong_secret"
    OTHER_FARM = "other_farm"
    OWN_IDENTITY = "own_identity"
    """It says it is we: a reflected challenge, or two members started as one."""
    WRONG_MEMBER = "wrong_member"
    """Another member than the dialed one lives at that address."""
    DEAD_INCARNATION = "dead_incarnation"
    NO_COMMON_VERSION = "no_common_version"
    OUT_OF_ORDER = "out_of_order"
    MALFORMED = "malformed"
    NOT_READY = "not_ready"
    """It has not joined the farm yet."""
    LATE = "late"
    TOO_MANY = "too_many"


class Refused(PeerError):
    """No link with this peer; `by_peer` if it was the peer who refused us."""

    def __init__(self, why: RefusedFor, *, by_peer: bool = False) -> None:
        super().__init__(why.value, status=403)
        self.why = why
        self.by_peer = by_peer


class Identity(msgspec.Struct, frozen=True):
    """Who a member is."""

    farm: str
    number: int
    epoch: int
    name: str

    @property
    def incarnation(self) -> Incarnation:
        return (self.number, self.epoch)


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end, proven, and the frame version to write."""

    identity: Identity
    version: int


class Handshake:
    """One side of one handshake; what is to be sent is returned, Refused raised."""

    def __init__(
        self,
        role: Role,
        own: Identity,
        keys: Sequence[bytes],
        nonce: bytes,
        *,
        expected: int | None = None,
        versions: tuple[int, int] = (VERSION_MIN, VERSION_MAX),
    ) -> None:
        """`keys`: of the secret, and of the one before; `expected`: the number that was dialed."""
        assert 1 <= len(keys) <= SECRETS_MAX
        self.peer: Peer | None = None
        """Set when the handshake is done."""
        self._role = role
        self._own = own
        self._keys = tuple(keys)
        self._expected = expected
        self._hello = Hello(*versions, own.farm, own.number, own.epoch, own.name, nonce)
        self._theirs: Hello | None = None

    def begin(self) -> Sequence[Frame]:
        """What is to be sent as soon as the link stands."""
        return (self._hello,) if self._role is Role.DIALER else ()

    def receive(self, frame: Received) -> Sequence[Frame]:
        """Take the peer's next frame; what is to be sent for it. Raises Refused."""
        if isinstance(frame, Refusal):
            raise Refused(_reason_of(frame), by_peer=True)
        if self.peer is not None:
            raise Refused(RefusedFor.OUT_OF_ORDER)
        if isinstance(frame, Hello) and self._theirs is None:
            return self._receive_hello(frame)
        if isinstance(frame, Proof) and self._theirs is not None:
            return self._receive_proof(frame, self._theirs)
        raise Refused(RefusedFor.OUT_OF_ORDER)

    def _receive_hello(self, theirs: Hello) -> Sequence[Frame]:
        own = self._hello
        if theirs.farm != own.farm:
            raise Refused(RefusedFor.OTHER_FARM)
        if theirs.number == own.number or theirs.nonce == own.nonce:
            raise Refused(RefusedFor.OWN_IDENTITY)
        if self._expected is not None and theirs.number != self._expected:
            raise Refused(RefusedFor.WRONG_MEMBER)
        if self._version(theirs) is None:
            raise Refused(RefusedFor.NO_COMMON_VERSION)
        self._theirs = theirs
        if self._role is Role.ACCEPTOR:
            return (own,)
        return (Proof(tuple([self._mac(Role.DIALER, key, theirs) for key in self._keys])),)

    def _receive_proof(self, proof: Proof, theirs: Hello) -> Sequence[Frame]:
        prover = Role.ACCEPTOR if self._role is Role.DIALER else Role.DIALER
        known = [
            key
            for key in self._keys
            for mac in proof.macs
            if hmac.compare_digest(mac, self._mac(prover, key, theirs))
        ]
        version = self._version(theirs)
        if not known or version is None:
            raise Refused(RefusedFor.WRONG_SECRET)
        identity = Identity(theirs.farm, theirs.number, theirs.epoch, theirs.name)
        self.peer = Peer(identity, version)
        if self._role is Role.DIALER:
            return ()
        return (Proof((self._mac(Role.ACCEPTOR, known[0], theirs),)),)

    def _version(self, theirs: Hello) -> int | None:
        own = self._hello
        return common_version(
            (own.version_min, own.version_max), (theirs.version_min, theirs.version_max)
        )

    def _mac(self, prover: Role, key: bytes, theirs: Hello) -> bytes:
        dialer, acceptor = self._hello, theirs
        if self._role is Role.ACCEPTOR:
            dialer, acceptor = theirs, self._hello
        said = msgspec.msgpack.encode((prover.value, _said(dialer), _said(acceptor)))
        return hmac.digest(key, _LABEL + said, hashlib.sha256)


def _said(hello: Hello) -> tuple[object, ...]:
    """All of a Hello by name: a later release may append fields that this one does not know."""
    return (
        hello.version_min,
        hello.version_max,
        hello.farm,
        hello.number,
        hello.epoch,
        hello.name,
        hello.nonce,
    )


def _reason_of(refusal: Refusal) -> RefusedFor:
    try:
        return RefusedFor(refusal.reason)
    except ValueError:
        return RefusedFor.MALFORMED
