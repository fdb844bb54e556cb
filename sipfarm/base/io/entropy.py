"""Randomness from the kernel."""

import secrets


class SystemEntropy:
    """An `Entropy` that nobody can guess."""

    def token_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)
