"""Answers of the admin API: views as JSON, and refusals with their reason."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from sipfarm.admin.pages import Page
from sipfarm.admin.views import ErrorView

JSON = "application/json"


def shown(value: object, status: int = 200) -> Response:
    """A view, or several."""
    return Response(msgspec.json.encode(value), status, media_type=JSON)


def shown_page(page: Page[Any], asked: Mapping[str, str]) -> Response:
    """A page of a list; a Link leads to the next one (RFC 8288), if there is one."""
    answer = shown(page.entries)
    if page.next:
        query = urlencode({**asked, "after": page.next})
        answer.headers["Link"] = f'<?{query}>; rel="next"'
    return answer


def refused(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    body = msgspec.json.encode(ErrorView(error=reason))
    return Response(body, status, headers=headers, media_type=JSON)
