"""The admin API of a member (DESIGN §6): paths, and which act of the member each is."""

from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sipfarm.admin.answers import refused, shown, shown_page
from sipfarm.admin.bodies import RolesBody
from sipfarm.admin.face import Conflicts, MemberFace, NotReached, NotThere, Unfit
from sipfarm.admin.guard import Guard
from sipfarm.admin.names_api import names_routes
from sipfarm.admin.openapi import description
from sipfarm.admin.pages import BadCursor
from sipfarm.admin.requests import after_of, body_of, limit_of
from sipfarm.base.errors import CapacityError
from sipfarm.base.metrics import CONTENT_TYPE
from sipfarm.base.secrets import Secret


def admin_api(face: MemberFace, token: Secret | None) -> ASGIApp:
    """The application of one member; with a token, only its bearers are served."""
    api = _Api(face)
    routes = [
        Route("/healthz", api.healthz),
        Route("/readyz", api.readyz),
        Route("/metrics", api.metrics),
        Route("/openapi.json", api.openapi),
        Route("/api/v1/member", api.member),
        Route("/api/v1/members", api.members),
        Route("/api/v1/members/{name}/drain", api.drain, methods=["POST"]),
        Route("/api/v1/members/{name}/undrain", api.undrain, methods=["POST"]),
        Route("/api/v1/members/{name}/roles", api.set_roles, methods=["POST"]),
        Route("/api/v1/calls", api.calls),
        Route("/api/v1/bans", api.bans),
        Route("/api/v1/bans/{address}/lift", api.unban, methods=["POST"]),
        Route("/api/v1/registrations", api.registrations),
        *names_routes(face.names),
    ]
    return Guard(Starlette(routes=routes, exception_handlers=REFUSALS), token)


class _Api:
    """One method for each path."""

    def __init__(self, face: MemberFace) -> None:
        self._face = face

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("well\n")

    async def readyz(self, request: Request) -> Response:
        if self._face.is_ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("draining, or no edge\n", 503)

    async def metrics(self, request: Request) -> Response:
        return Response(self._face.metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def openapi(self, request: Request) -> Response:
        return shown(description())

    async def member(self, request: Request) -> Response:
        return shown(self._face.member())

    async def members(self, request: Request) -> Response:
        return shown(await self._face.members())

    async def drain(self, request: Request) -> Response:
        return shown(await self._face.drain(request.path_params["name"]))

    async def undrain(self, request: Request) -> Response:
        return shown(await self._face.undrain(request.path_params["name"]))

    async def set_roles(self, request: Request) -> Response:
        body = await body_of(request, RolesBody)
        return shown(await self._face.set_roles(request.path_params["name"], body))

    async def calls(self, request: Request) -> Response:
        wanted = limit_of(request), after_of(request)
        face = self._face
        page = await face.farm_calls(*wanted) if _of_farm(request) else face.calls(*wanted)
        return shown_page(page, request.query_params)

    async def bans(self, request: Request) -> Response:
        return shown(await self._face.farm_bans() if _of_farm(request) else self._face.bans())

    async def unban(self, request: Request) -> Response:
        address: str = request.path_params["address"]
        face = self._face
        found = await face.farm_unban(address) if _of_farm(request) else face.unban(address)
        if not found:
            raise NotThere(f"{address} is not banned")
        return shown(found)

    async def registrations(self, request: Request) -> Response:
        domain = request.query_params.get("domain")
        wanted = limit_of(request), after_of(request)
        return shown_page(await self._face.registrations(domain, *wanted), request.query_params)


def _of_farm(request: Request) -> bool:
    return request.query_params.get("farm", "0") not in ("", "0", "false")


async def _bad_cursor(request: Request, error: Exception) -> Response:
    return refused(400, str(error))


async def _not_there(request: Request, error: Exception) -> Response:
    return refused(404, str(error))


async def _conflicts(request: Request, error: Exception) -> Response:
    return refused(409, str(error))


async def _unfit(request: Request, error: Exception) -> Response:
    return refused(422, str(error))


async def _not_reached(request: Request, error: Exception) -> Response:
    return refused(503, str(error))


async def _capacity(request: Request, error: Exception) -> Response:
    assert isinstance(error, CapacityError)
    return refused(503, error.reason, {"Retry-After": str(error.retry_after_s)})


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refused(error.status_code, error.detail, error.headers)


REFUSALS: Final = {
    BadCursor: _bad_cursor,
    NotThere: _not_there,
    Conflicts: _conflicts,
    Unfit: _unfit,
    NotReached: _not_reached,
    CapacityError: _capacity,
    HTTPException: _http,
}
