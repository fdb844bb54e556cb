"""The echo application: callers hear themselves, to judge line, codec and delay."""

from typing import Final

from sipfarm.pbx.call import Call

ECHO_MS_MAX: Final = 30 * 60_000


async def echo(call: Call) -> None:
    """Answer and reflect the caller's media until the caller hangs up, or half an hour is over."""
    await call.answer(duration_ms_max=ECHO_MS_MAX)
    await call.ended()
