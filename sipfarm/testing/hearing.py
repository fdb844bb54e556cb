"""Waiting for audio: a call lasts as long as something is to be heard, not so many seconds."""

from typing import Final

from sipfarm.phone.io.process import Softphone
from sipfarm.phone.protocol import Reported
from sipfarm.testing.eventually import eventually_told

PACKETS_PER_S: Final = 50
LATE_S: Final = 15.0


async def heard(phone: Softphone, call: int, seconds: float, after: int = 0) -> Reported:
    """Wait until a phone has got so much audio in a call, beyond its first `after` packets."""
    wanted = after + int(seconds * PACKETS_PER_S)
    return await eventually_told(
        lambda: phone.report(call),
        lambda report: report.received.packets >= wanted,
        f"{wanted} packets of audio",
        seconds + LATE_S,
    )
