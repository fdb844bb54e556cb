"""What a request has shown of its sender; who has shown nothing costs the farm as little as can be.

The native engine is told of it (docs/adr/0010-protection-by-source.md), and answers to the unproven
leave no transaction behind (RFC 3261 §8.2.7, §26.3.2.4).
"""

from enum import IntEnum
from typing import Final, Generic, TypeVar

import msgspec

ResultT = TypeVar("ResultT", covariant=True)


class Standing(IntEnum):
    """From the best to the worst."""

    TRUSTED = 0  # a source of `[sip] trusted`
    PROVEN = 1  # by digest
    UNPROVEN = 2
    REFUSED = 3  # a wrong password over a nonce that was given to this very source
    FOREIGN = 4  # asked for what is not the farm's, or not for strangers


FAULTS: Final = {Standing.REFUSED: "credentials", Standing.FOREIGN: "foreign"}
"""What the engine calls that which is held against a source."""


class Judged(msgspec.Struct, Generic[ResultT], frozen=True):
    """What becomes of a request, and what it showed of its sender."""

    result: ResultT
    standing: Standing

    @property
    def is_of_stranger(self) -> bool:
        return self.standing >= Standing.UNPROVEN
