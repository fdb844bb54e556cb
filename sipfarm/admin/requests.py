"""Reading what a request asks for, within bounds."""

from typing import Final, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from sipfarm.admin.bodies import Body

B = TypeVar("B", bound=Body)

LIMIT: Final = 1_000
LIMIT_MAX: Final = 10_000
"""Entries of one list."""
LIMIT_DIGITS_MAX: Final = 9
BODY_BYTES_MAX: Final = 65_536


def limit_of(request: Request) -> int:
    """How many entries are wanted at most."""
    text = request.query_params.get("limit", str(LIMIT))
    is_number = text.isascii() and text.isdigit() and len(text) <= LIMIT_DIGITS_MAX
    if not is_number or not 1 <= int(text) <= LIMIT_MAX:
        raise HTTPException(400, f"limit: allowed are 1 to {LIMIT_MAX}")
    return int(text)


def after_of(request: Request) -> str:
    """The cursor of the page that is wanted; empty: the first."""
    return request.query_params.get("after", "")


async def body_of(request: Request, kind: type[B]) -> B:
    """The JSON of a request; 422 says what is wrong in it, and never what stands there."""
    try:
        return msgspec.json.decode(await bytes_of(request), type=kind)
    except msgspec.ValidationError as error:
        raise HTTPException(422, str(error)) from None
    except msgspec.DecodeError:
        raise HTTPException(400, "the body is no JSON") from None


async def bytes_of(request: Request) -> bytes:
    """The body as it came."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413, f"the body is longer than {BODY_BYTES_MAX} bytes")
    return bytes(body)
