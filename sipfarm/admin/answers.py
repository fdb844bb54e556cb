"""Answers of the admin API: views as JSON, and refusals with their reason."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from sipfarm.admin.views import ErrorView

JSON = "application/json"


def shown(value: object, status: int = 200) -> Response:
    """A view, or several."""
    return Response(msgspec.json.encode(value), status, media_type=JSON)


def refused(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    body = msgspec.json.encode(ErrorView(error=reason))
    return Response(body, status, headers=headers, media_type=JSON)
