"""The HTTP port that answers for the whole farm of `sipfarm run`: it asks the members."""

from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sipfarm.admin.answers import refused
from sipfarm.admin.api import REFUSALS
from sipfarm.admin.face import NotReached
from sipfarm.admin.guard import Guard
from sipfarm.admin.io.client import AdminClient, Answer, asking
from sipfarm.admin.metrics_text import merged
from sipfarm.admin.requests import bytes_of
from sipfarm.base.metrics import CONTENT_TYPE, Metrics
from sipfarm.base.net import HostPort
from sipfarm.base.secrets import Secret
from sipfarm.node.io.supervisor import Supervisor

ANSWER_S: Final = 5.0
METRICS_ANSWER_S: Final = 1.0


def farm_api(supervisor: Supervisor, token: Secret | None) -> ASGIApp:
    """Any member answers for the farm, so what is asked here is passed on to one that is ready."""
    port = _FarmPort(supervisor, token)
    routes = [
        Route("/healthz", port.healthz),
        Route("/readyz", port.readyz),
        Route("/metrics", port.metrics),
        Route("/{path:path}", port.pass_on, methods=["GET", "POST", "PUT", "DELETE"]),
    ]
    return Guard(Starlette(routes=routes, exception_handlers=REFUSALS), token)


class _FarmPort:
    def __init__(self, supervisor: Supervisor, token: Secret | None) -> None:
        self._supervisor = supervisor
        self._token = token
        self._metrics = _supervisor_metrics(supervisor)

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("well\n")

    async def readyz(self, request: Request) -> Response:
        """Ready while one of the members is."""
        if self._supervisor.stopping:
            return PlainTextResponse("draining\n", 503)
        for admin in self._admins():
            answer = await self._ask(admin, "GET", "/readyz", METRICS_ANSWER_S)
            if answer is not None and answer.status == 200:
                return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready\n", 503)

    async def metrics(self, request: Request) -> Response:
        pages = [self._metrics.render().decode()]
        for admin in self._admins():
            answer = await self._ask(admin, "GET", "/metrics", METRICS_ANSWER_S)
            if answer is not None and answer.status == 200:
                pages.append(answer.body.decode())
        return Response(merged(pages), headers={"Content-Type": CONTENT_TYPE})

    async def pass_on(self, request: Request) -> Response:
        query = str(request.url.query)
        if request.url.path == "/api/v1/calls":
            query = f"{query}&farm=1" if query else "farm=1"
        path = request.scope["raw_path"].decode("ascii")
        target = f"{path}?{query}" if query else path
        body = await bytes_of(request)
        adds = request.method == "POST" and bool(body)  # what may have been done is not repeated
        for admin in self._admins()[: 1 if adds else None]:
            answer = await self._ask(admin, request.method, target, ANSWER_S, body)
            if answer is not None:
                headers = {"Content-Type": answer.content_type}
                if answer.link:
                    headers["Link"] = answer.link
                return Response(answer.body, answer.status, headers=headers)
        return refused(503, "no member is ready")

    def _admins(self) -> Sequence[HostPort]:
        return [member.admin for member in self._supervisor.ready_members]

    async def _ask(
        self, admin: HostPort, method: str, target: str, answer_s: float, body: bytes = b""
    ) -> Answer | None:
        client = AdminClient(str(admin), self._token, answer_s)
        try:
            return await asking(lambda: client.exchange(method, target, body))
        except NotReached:
            return None


def _supervisor_metrics(supervisor: Supervisor) -> Metrics:
    metrics = Metrics()
    metrics.read_counter(
        "sipfarm_member_restarts",
        "deaths of members",
        ("member",),
        lambda: [((name,), float(kept.count)) for name, kept in supervisor.restarts.items()],
    )
    metrics.read_gauge(
        "sipfarm_members_ready",
        "members that run",
        (),
        lambda: [((), float(len(supervisor.ready_members)))],
    )
    return metrics
