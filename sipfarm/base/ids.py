"""Names that must not be guessed or met twice: tags, Call-IDs, ids of calls."""

import base64
from typing import Protocol

TAG_BYTES = 10
"""80 bits; RFC 3261 §19.3 asks for at least 32."""
CALL_ID_BYTES = 15


class Entropy(Protocol):
    """Where random bytes come from; a simulation gives a seeded one."""

    def token_bytes(self, count: int) -> bytes: ...


class Ids:
    """Mints ids in lower-case base32: phones fold case, and no id may change by that."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    def tag(self) -> str:
        """A From or To tag (RFC 3261 §19.3)."""
        return self.text(TAG_BYTES)

    def call_id(self) -> str:
        """A Call-ID without a host part (RFC 3261 §8.1.1.4)."""
        return self.text(CALL_ID_BYTES)

    def text(self, bytes_count: int) -> str:
        return base32_lower(self._entropy.token_bytes(bytes_count))


def base32_lower(data: bytes) -> str:
    """The bytes in base32 (RFC 4648 §6), lower case and without padding."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()
