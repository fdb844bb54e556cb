"""The description of the admin API (OpenAPI 3.1), its schemas made of the views."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from sipfarm import __version__
from sipfarm.admin.bodies import (
    AccountBody,
    ApplicationBody,
    Body,
    DomainBody,
    NewAccount,
    NewApplication,
    NewDomain,
    RolesBody,
)
from sipfarm.admin.views import (
    AccountView,
    ApplicationView,
    BanView,
    CallView,
    ChangeView,
    DomainView,
    ErrorView,
    MemberView,
    RegistrationView,
    View,
)

Json = dict[str, Any]

VIEWS: Final[tuple[type[View] | type[Body], ...]] = (
    MemberView,
    CallView,
    RegistrationView,
    BanView,
    DomainView,
    AccountView,
    ApplicationView,
    ChangeView,
    ErrorView,
    NewDomain,
    DomainBody,
    NewAccount,
    AccountBody,
    NewApplication,
    ApplicationBody,
    RolesBody,
)


def description() -> Json:
    """All paths under `/api/v1/`, and those for balancers and Prometheus."""
    _, schemas = msgspec.json.schema_components(VIEWS, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "sipfarm", "version": __version__},
        "paths": {
            "/healthz": {"get": _text("200 while the member lives", (200,))},
            "/readyz": {"get": _text("200 while the member takes new work in", (200, 503))},
            "/metrics": {"get": _text("metrics for Prometheus", (200,))},
            "/api/v1/member": {"get": _json("the member that is asked", MemberView)},
            "/api/v1/members": {"get": _json("all members of the farm", list[MemberView])},
            "/api/v1/members/{name}/drain": {
                "post": _json("let a member take no new work", MemberView, ["name"])
            },
            "/api/v1/members/{name}/undrain": {
                "post": _json("let it take new work again", MemberView, ["name"])
            },
            "/api/v1/members/{name}/roles": {
                "post": _told(
                    _json("let it be of other roles; 409 if it is the last", MemberView, ["name"]),
                    RolesBody,
                    "200",
                )
            },
            "/api/v1/calls": {"get": _page("the calls of this member", list[CallView], ["farm"])},
            "/api/v1/bans": {
                "get": _json("sources this member has banned", list[BanView], query=["farm"])
            },
            "/api/v1/bans/{address}/lift": {
                "post": _json("end the ban of an address", list[BanView], ["address"], ["farm"])
            },
            "/api/v1/registrations": {"get": _page("bindings", list[RegistrationView], ["domain"])},
            **_names(),
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _names() -> Json:
    """What is below `/api/v1/domains`: lists that are added to, and entries that are set."""
    domains = "/api/v1/domains"
    domain = f"{domains}/{{domain}}"
    accounts, applications = f"{domain}/accounts", f"{domain}/applications"
    return {
        domains: _list("domain", DomainView, NewDomain, [], []),
        domain: _entry("domain, with all that is in it", DomainView, DomainBody, ["domain"]),
        accounts: _list("account", AccountView, NewAccount, ["domain"], ["limit"]),
        f"{accounts}/{{name}}": _entry("account", AccountView, AccountBody, ["domain", "name"]),
        applications: _list("application", ApplicationView, NewApplication, ["domain"], []),
        f"{applications}/{{name}}": _entry(
            "application", ApplicationView, ApplicationBody, ["domain", "name"]
        ),
    }


def _list(
    what: str, view: type[View], new: type[Body], path: Sequence[str], query: Sequence[str]
) -> Json:
    return {
        "get": _json(f"look at each {what}", list[view], path, query),
        "post": _told(_json(f"add a new {what}; 409 if it is there", ChangeView, path), new, "201"),
    }


def _entry(what: str, view: type[View], body: type[Body], path: Sequence[str]) -> Json:
    return {
        "get": _json(f"look at one {what}", view, path),
        "put": _told(_json(f"add or replace one {what}", ChangeView, path), body, "200"),
        "delete": _json(f"remove one {what}; 404 if it is not there", ChangeView, path),
    }


def _told(operation: Json, body: type[Body], status: str) -> Json:
    """An operation that is told something, and answers with this status."""
    answers = operation["responses"]
    schema = {"$ref": f"#/components/schemas/{body.__name__}"}
    return {
        **operation,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {status: answers["200"], "default": answers["default"]},
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


def _page(summary: str, answer: object, query: Sequence[str]) -> Json:
    """A list whose Link header leads to the next page; its `after` is a cursor."""
    operation = _json(summary, answer, query=[*query, "limit", "after"])
    operation["responses"]["200"]["headers"] = {
        "Link": {"description": 'rel="next", if there is more', "schema": {"type": "string"}}
    }
    return operation


def _parameter(name: str, where: str) -> Json:
    kind = "integer" if name == "limit" else "string"
    return {"name": name, "in": where, "required": where == "path", "schema": {"type": kind}}
