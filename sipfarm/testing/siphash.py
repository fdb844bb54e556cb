"""SipHash-2-4 in plain Python: the oracle that the native one is held against.

After Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), §2.
"""

import struct

_MASK = (1 << 64) - 1
_V0, _V1, _V2, _V3 = (
    int.from_bytes(b"somepseudorandomlygeneratedbytes"[at : at + 8], "big") for at in (0, 8, 16, 24)
)


def siphash(key: bytes, data: bytes) -> int:
    """The hash of data under a 16-byte key."""
    k0, k1 = struct.unpack("<QQ", key)
    state = (k0 ^ _V0, k1 ^ _V1, k0 ^ _V2, k1 ^ _V3)
    whole = len(data) // 8 * 8
    last = int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56
    for (word,) in (*struct.iter_unpack("<Q", data[:whole]), (last,)):
        v0, v1, v2, v3 = state
        v0, v1, v2, v3 = _rounds(2, (v0, v1, v2, v3 ^ word))
        state = (v0 ^ word, v1, v2, v3)
    v0, v1, v2, v3 = state
    v0, v1, v2, v3 = _rounds(4, (v0, v1, v2 ^ 0xFF, v3))
    return v0 ^ v1 ^ v2 ^ v3


def _rounds(count: int, state: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    v0, v1, v2, v3 = state
    for _ in range(count):
        v0 = (v0 + v1) & _MASK
        v2 = (v2 + v3) & _MASK
        v1 = _left(v1, 13) ^ v0
        v3 = _left(v3, 16) ^ v2
        v0 = _left(v0, 32)
        v2 = (v2 + v1) & _MASK
        v0 = (v0 + v3) & _MASK
        v1 = _left(v1, 17) ^ v2
        v3 = _left(v3, 21) ^ v0
        v2 = _left(v2, 32)
    return v0, v1, v2, v3


def _left(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _MASK
