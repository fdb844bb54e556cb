"""Digest nonces that any member can judge, and the memory of their use (RFC 7616 §5.4, §5.12).

A nonce is its time of issue, a number no other nonce has, and a MAC by a key of the farm over
both and the source it was given to. So no member keeps what it issued. A member does keep which
nonce counts were used *on it*: the same count in a second transaction is a replay.

What that leaves open: a member does not know the counts used on another one. Who can read a
request and can send from the very source it came from may replay it once on each other member
while the nonce lives. A replayed REGISTER changes nothing (the store refuses its CSeq), the
answer goes to the true source, and the lifetime is short.
"""

from binascii import a2b_base64, b2a_base64
from collections import OrderedDict
from enum import IntEnum
from hashlib import blake2b
from hmac import compare_digest
from typing import Final, Literal

import msgspec

KEY_BYTES_MIN: Final = 16
KEY_BYTES_MAX: Final = 64  # what BLAKE2b takes
MAC_BYTES: Final = 12
STAMP_BYTES: Final = 12  # wall clock in ms 6, member number 2, counter 4
NONCE_CHARS: Final = (STAMP_BYTES + MAC_BYTES) * 4 // 3
SAME_TRANSACTION_MS: Final = (
    32_000  # 64*T1: how long a transaction may be seen again (RFC 3261 §17.2)
)

SourceBinding = Literal["port", "host"]


class NonceMint:
    """Makes and recognises nonces.

    `bind_to` says what part of its source a nonce holds for. `port`: address and port; a phone
    whose NAT gave it a new port, or that reconnected, is asked once more (`stale`). `host`: the
    address alone; for a balancer that rewrites addresses, where one phone comes from several
    ports. Replay from another port of that address is then not seen here, only by its nonce
    count.
    """

    def __init__(self, keys: tuple[bytes, ...], member_number: int, bind_to: SourceBinding) -> None:
        """Keys: the current one first, then those still accepted."""
        if not keys or any(not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX for key in keys):
            raise ValueError(f"a nonce key needs {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes")
        self._keys = keys
        self._member = member_number.to_bytes(2)
        self._with_port = bind_to == "port"
        self._counter = 0

    def mint(self, source: tuple[str, int], wall_ms: int) -> str:
        """A nonce for this source, unlike any other."""
        self._counter = (self._counter + 1) & 0xFFFFFFFF
        stamp = wall_ms.to_bytes(6) + self._member + self._counter.to_bytes(4)
        mac = self._mac(self._keys[0], stamp, self._holder(source))
        return b2a_base64(stamp + mac, newline=False).decode()

    def recognise(self, nonce: str, source: tuple[str, int]) -> bytes | None:
        """The stamp of a nonce that a member of this farm gave to this source."""
        if len(nonce) != NONCE_CHARS:
            return None
        try:
            token = a2b_base64(nonce)
        except ValueError:
            return None
        if len(token) != STAMP_BYTES + MAC_BYTES:
            return None
        stamp, mac = token[:STAMP_BYTES], token[STAMP_BYTES:]
        holder = self._holder(source)
        for key in self._keys:
            if compare_digest(self._mac(key, stamp, holder), mac):
                return stamp
        return None

    def _holder(self, source: tuple[str, int]) -> bytes:
        return (f"{source[0]} {source[1]}" if self._with_port else source[0]).encode()

    @staticmethod
    def _mac(key: bytes, stamp: bytes, holder: bytes) -> bytes:
        return blake2b(stamp + holder, digest_size=MAC_BYTES, key=key).digest()


class Use(IntEnum):
    """What using a nonce count means."""

    FIRST = 0
    SAME_TRANSACTION = 1  # a retransmission, or a second look at the same request
    REPLAY = 2
    FORGOTTEN = 3  # too old a nonce to say: the memory of its time was given up


_FIRST, _SAME_TRANSACTION, _REPLAY, _FORGOTTEN = Use


class CountsSettings(msgspec.Struct, frozen=True):
    """Bounds of the memory; a full one forgets the oldest nonces and asks their phones again."""

    nonces_max: int = 32_768
    counts_max: int = 64  # of one nonce; how far parallel requests may overtake each other


class _Uses:
    """The counts used with one nonce: each with its transaction and when it was first seen."""

    __slots__ = ("counts", "floor")

    def __init__(self) -> None:
        self.floor = -1
        self.counts: dict[int, tuple[int, int]] = {}


class NonceCounts:
    """Judges nonce counts per transaction (RFC 7616 §3.4.5); they may skip and overtake."""

    def __init__(self, settings: CountsSettings) -> None:
        self._settings = settings
        self._nonces: OrderedDict[bytes, _Uses] = OrderedDict()
        self._forgotten_wall_ms = -1

    def __len__(self) -> int:
        return len(self._nonces)

    def judge(self, stamp: bytes, count: int, transaction: int, wall_ms: int) -> Use:
        """Note the use of a nonce count and judge it. Without qop the count is 0: good once."""
        uses = self._nonces.get(stamp)
        if uses is None:
            if issued_wall_ms(stamp) <= self._forgotten_wall_ms:
                return _FORGOTTEN
            uses = self._nonces[stamp] = _Uses()
            self._make_room()
        known = uses.counts.get(count)
        if known is not None:
            same = known[0] == transaction and wall_ms - known[1] <= SAME_TRANSACTION_MS
            return _SAME_TRANSACTION if same else _REPLAY
        if count <= uses.floor:
            return _REPLAY
        uses.counts[count] = (transaction, wall_ms)
        if len(uses.counts) > self._settings.counts_max:
            oldest = next(iter(uses.counts))
            del uses.counts[oldest]
            uses.floor = max(uses.floor, oldest)
        return _FIRST

    def expire(self, issued_before_wall_ms: int) -> None:
        """Forget nonces that no longer live; the mint's lifetime refuses them from here on."""
        while self._nonces and issued_wall_ms(next(iter(self._nonces))) < issued_before_wall_ms:
            self._nonces.popitem(last=False)

    def _make_room(self) -> None:
        if len(self._nonces) > self._settings.nonces_max:
            stamp, _ = self._nonces.popitem(last=False)
            self._forgotten_wall_ms = max(self._forgotten_wall_ms, issued_wall_ms(stamp))


def issued_wall_ms(stamp: bytes) -> int:
    """When a nonce was issued, by the clock of the member that did."""
    return int.from_bytes(stamp[:6])
