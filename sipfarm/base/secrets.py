"""Secrets that do not show themselves, and the keys derived from the farm's secret."""

import hashlib
import hmac

import msgspec

SECRET_BYTES_MIN = 16
MARK_KEY_BYTES = 16
"""SipHash-2-4 takes 128 bits."""
KEY_BYTES = 32

_SALT = b"sipfarm keys 1"


class Secret:
    """A text that is not printed: neither `repr`, `str`, a format nor a log shows it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; called where it is used, and nowhere else."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


class FarmKeys(msgspec.Struct, frozen=True):
    """One key for each purpose, so that no use of one tells anything about another."""

    mark: bytes
    """MAC of owner marks, 16 bytes."""
    bus: bytes
    """Mutual authentication of members, 32 bytes."""
    nonce: bytes
    """Digest nonces that any member can verify, 32 bytes."""

    def __repr__(self) -> str:
        return "FarmKeys(***)"


def farm_keys(secret: Secret) -> FarmKeys:
    """Derive the keys of a farm from its secret (HKDF-SHA256, RFC 5869)."""
    return FarmKeys(
        mark=derive_key(secret, "mark", MARK_KEY_BYTES),
        bus=derive_key(secret, "bus", KEY_BYTES),
        nonce=derive_key(secret, "nonce", KEY_BYTES),
    )


def derive_key(secret: Secret, label: str, bytes_count: int) -> bytes:
    """The key for one purpose, the label being its name."""
    return hkdf_sha256(secret.reveal().encode(), _SALT, label.encode(), bytes_count)


def hkdf_sha256(key_material: bytes, salt: bytes, info: bytes, bytes_count: int) -> bytes:
    """HKDF with SHA-256 (RFC 5869 §2.2 and §2.3)."""
    if not 0 < bytes_count <= 255 * 32:
        raise ValueError(f"{bytes_count} bytes: allowed are 1 to {255 * 32}")
    extracted = hmac.digest(salt or bytes(32), key_material, hashlib.sha256)
    expanded = b""
    block = b""
    counter = 1
    while len(expanded) < bytes_count:
        block = hmac.digest(extracted, block + info + bytes([counter]), hashlib.sha256)
        expanded += block
        counter += 1
    return expanded[:bytes_count]
