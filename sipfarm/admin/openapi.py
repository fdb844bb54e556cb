"""The description of the admin API (OpenAPI 3.1), its schemas made of the views."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from sipfarm import __version__
from sipfarm.admin.views import (
    AccountView,
    BanView,
    CallView,
    DomainView,
    ErrorView,
    MemberView,
    RegistrationView,
    View,
)

Json = dict[str, Any]

VIEWS: Final[tuple[type[View], ...]] = (
    MemberView,
    CallView,
    RegistrationView,
    BanView,
    DomainView,
    AccountView,
    ErrorView,
)


def description() -> Json:
    """All paths under `/api/v1/`, and those for balancers and Prometheus."""
    _, schemas = msgspec.json.schema_components(VIEWS, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "sipfarm", "version": __version__},
        "paths": {
            "/healthz": {"get": _text("200 while the member lives", (200,))},
            "/readyz": {"get": _text("200 while the member takes new work", (200, 503))},
            "/metrics": {"get": _text("metrics for Prometheus", (200,))},
            "/api/v1/member": {"get": _json("the member that is asked", MemberView)},
            "/api/v1/members": {"get": _json("all members of the farm", list[MemberView])},
            "/api/v1/members/{name}/drain": {
                "post": _json("let a member take no new work", MemberView, ["name"])
            },
            "/api/v1/members/{name}/undrain": {
                "post": _json("let it take new work again", MemberView, ["name"])
            },
            "/api/v1/calls": {
                "get": _json("the calls of this member", list[CallView], query=["farm", "limit"])
            },
            "/api/v1/bans": {
                "get": _json("sources this member has banned", list[BanView], query=["farm"])
            },
            "/api/v1/bans/{address}/lift": {
                "post": _json("end the ban of an address", list[BanView], ["address"], ["farm"])
            },
            "/api/v1/registrations": {
                "get": _json("bindings", list[RegistrationView], query=["domain", "limit"])
            },
            "/api/v1/domains": {"get": _json("the farm's domains", list[DomainView])},
            "/api/v1/domains/{domain}/accounts": {
                "get": _json("accounts of a domain", list[AccountView], ["domain"], ["limit"])
            },
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _text(summary: str, statuses: Sequence[int]) -> Json:
    return {"summary": summary, "responses": {str(status): _response() for status in statuses}}


def _response(schema: Json | None = None) -> Json:
    kind = "text/plain" if schema is None else "application/json"
    return {
        "description": "",
        "content": {kind: {"schema": schema or {"type": "string"}}},
    }


def _json(
    summary: str, answer: object, path: Sequence[str] = (), query: Sequence[str] = ()
) -> Json:
    schemas, _ = msgspec.json.schema_components(
        [answer, ErrorView], ref_template="#/components/schemas/{name}"
    )
    answered, failed = schemas
    return {
        "summary": summary,
        "parameters": [
            *[_parameter(name, "path") for name in path],
            *[_parameter(name, "query") for name in query],
        ],
        "responses": {"200": _response(answered), "default": _response(failed)},
    }


def _parameter(name: str, where: str) -> Json:
    kind = "integer" if name == "limit" else "string"
    return {"name": name, "in": where, "required": where == "path", "schema": {"type": kind}}
