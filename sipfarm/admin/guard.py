"""Who may use the admin API: the bearer of the token, or without one a program of this machine.

A web page that somebody looks at on this machine is no such program: it is told by the Origin it
comes from, or by a host name that was made to lead here.
"""

import hmac
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from sipfarm.admin.answers import refused
from sipfarm.base.net import parse_ip
from sipfarm.base.secrets import Secret

OPEN_PATHS: Final = frozenset(("/healthz", "/readyz"))
"""For balancers, which have no token; they tell nothing but yes or no."""


class Guard:
    """Refuses what has no right, before it reaches the application."""

    def __init__(self, app: ASGIApp, token: Secret | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        app = self._app
        if scope["path"] not in OPEN_PATHS:
            app = self._judge(headers) or app
        await app(scope, receive, send)

    def _judge(self, headers: dict[bytes, bytes]) -> ASGIApp | None:
        if self._token is not None:
            given = headers.get(b"authorization", b"")
            expected = f"Bearer {self._token.reveal()}".encode()
            if hmac.compare_digest(given, expected):
                return None
            return refused(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").partition("://")[2] != host:
            return refused(403, "this API is not for pages of other sites")
        if not _is_here(host):
            return refused(403, "without a token this API is reached by an IP address only")
        return None


def _is_here(host: str) -> bool:
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name == "localhost" or parse_ip(name) is not None
