"""The part of the admin API that domains, accounts and applications are looked at and set by.

POST adds what is not there yet (201, or 409), PUT adds or replaces, and may be repeated.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sipfarm.admin.answers import shown
from sipfarm.admin.bodies import (
    AccountBody,
    ApplicationBody,
    DomainBody,
    NewAccount,
    NewApplication,
    NewDomain,
)
from sipfarm.admin.face import NamesFace
from sipfarm.admin.requests import body_of, limit_of

DOMAINS = "/api/v1/domains"
DOMAIN = f"{DOMAINS}/{{domain}}"
ACCOUNTS = f"{DOMAIN}/accounts"
ACCOUNT = f"{ACCOUNTS}/{{name}}"
APPLICATIONS = f"{DOMAIN}/applications"
APPLICATION = f"{APPLICATIONS}/{{name}}"


def names_routes(names: NamesFace) -> list[Route]:
    """What is below `/api/v1/domains`."""
    api = _Api(names)
    return [
        Route(DOMAINS, api.domains),
        Route(DOMAINS, api.add_domain, methods=["POST"]),
        Route(DOMAIN, api.domain),
        Route(DOMAIN, api.put_domain, methods=["PUT"]),
        Route(DOMAIN, api.remove_domain, methods=["DELETE"]),
        Route(ACCOUNTS, api.accounts),
        Route(ACCOUNTS, api.add_account, methods=["POST"]),
        Route(ACCOUNT, api.account),
        Route(ACCOUNT, api.put_account, methods=["PUT"]),
        Route(ACCOUNT, api.remove_account, methods=["DELETE"]),
        Route(APPLICATIONS, api.applications),
        Route(APPLICATIONS, api.add_application, methods=["POST"]),
        Route(APPLICATION, api.application),
        Route(APPLICATION, api.put_application, methods=["PUT"]),
        Route(APPLICATION, api.remove_application, methods=["DELETE"]),
    ]


class _Api:
    """One method for each path and method."""

    def __init__(self, names: NamesFace) -> None:
        self._names = names

    async def domains(self, request: Request) -> Response:
        return shown(await self._names.domains())

    async def add_domain(self, request: Request) -> Response:
        body = await body_of(request, NewDomain)
        return shown(await self._names.put_domain(body.name, body, new=True), 201)

    async def domain(self, request: Request) -> Response:
        return shown(await self._names.domain(_domain(request)))

    async def put_domain(self, request: Request) -> Response:
        body = await body_of(request, DomainBody)
        return shown(await self._names.put_domain(_domain(request), body, new=False))

    async def remove_domain(self, request: Request) -> Response:
        return shown(await self._names.remove_domain(_domain(request)))

    async def accounts(self, request: Request) -> Response:
        return shown(await self._names.accounts(_domain(request), limit_of(request)))

    async def add_account(self, request: Request) -> Response:
        body = await body_of(request, NewAccount)
        change = await self._names.put_account(_domain(request), body.name, body, new=True)
        return shown(change, 201)

    async def account(self, request: Request) -> Response:
        return shown(await self._names.account(*_name(request)))

    async def put_account(self, request: Request) -> Response:
        body = await body_of(request, AccountBody)
        return shown(await self._names.put_account(*_name(request), body, new=False))

    async def remove_account(self, request: Request) -> Response:
        return shown(await self._names.remove_account(*_name(request)))

    async def applications(self, request: Request) -> Response:
        return shown(await self._names.applications(_domain(request)))

    async def add_application(self, request: Request) -> Response:
        body = await body_of(request, NewApplication)
        change = await self._names.put_application(_domain(request), body.name, body, new=True)
        return shown(change, 201)

    async def application(self, request: Request) -> Response:
        return shown(await self._names.application(*_name(request)))

    async def put_application(self, request: Request) -> Response:
        body = await body_of(request, ApplicationBody)
        return shown(await self._names.put_application(*_name(request), body, new=False))

    async def remove_application(self, request: Request) -> Response:
        return shown(await self._names.remove_application(*_name(request)))


def _domain(request: Request) -> str:
    domain: str = request.path_params["domain"]
    return domain


def _name(request: Request) -> tuple[str, str]:
    return _domain(request), request.path_params["name"]
