"""Setting domains, accounts and applications over HTTP: what is told, and what is answered."""

import pytest
from starlette.types import ASGIApp

from sipfarm.admin.api import admin_api
from sipfarm.admin.bodies import (
    AccountBody,
    ApplicationBody,
    DomainBody,
    NewAccount,
    NewApplication,
    NewDomain,
)
from sipfarm.admin.face import Conflicts, NotThere, Unfit
from sipfarm.admin.requests import BODY_BYTES_MAX
from sipfarm.base.errors import SipfarmError
from sipfarm.base.secrets import Secret
from tests.admin.conftest import FakeFace, ask

DOMAINS = "/api/v1/domains"
D = f"{DOMAINS}/d.test"
ALICE = f"{D}/accounts/alice"
ECHO = f"{D}/applications/echo"


@pytest.fixture
def api(face: FakeFace) -> ASGIApp:
    return admin_api(face, None)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "asked"),
    [
        ("POST", DOMAINS, {"name": "d.test"}, 201,
         ("put_domain", "d.test", NewDomain(name="d.test"), True)),
        ("PUT", D, {"media_address": "192.0.2.1"}, 200,
         ("put_domain", "d.test", DomainBody(media_address="192.0.2.1"), False)),
        ("DELETE", D, b"", 200, ("remove_domain", "d.test")),
        ("POST", f"{D}/accounts", {"name": "alice", "password": "x"}, 201,
         ("put_account", "d.test", "alice", NewAccount(name="alice", password="x"), True)),
        ("PUT", ALICE, {"numbers": ["1"]}, 200,
         ("put_account", "d.test", "alice", AccountBody(numbers=("1",)), False)),
        ("DELETE", ALICE, b"", 200, ("remove_account", "d.test", "alice")),
        ("POST", f"{D}/applications", {"name": "echo"}, 201,
         ("put_application", "d.test", "echo", NewApplication(name="echo"), True)),
        ("PUT", ECHO, {"task": "m:f"}, 200,
         ("put_application", "d.test", "echo", ApplicationBody(task="m:f"), False)),
        ("DELETE", ECHO, b"", 200, ("remove_application", "d.test", "echo")),
    ],
)  # fmt: skip
def test_each_change_reaches_the_farm_and_answers_with_its_revision(
    api: ASGIApp,
    face: FakeFace,
    method: str,
    path: str,
    body: object,
    status: int,
    asked: tuple[object, ...],
) -> None:
    answer = ask(api, path, method, body=body)
    assert (answer.status, answer.json["revision"]) == (status, 7)
    assert face.asked == [asked]


@pytest.mark.parametrize(
    ("error", "status"), [(NotThere("n"), 404), (Conflicts("c"), 409), (Unfit("u"), 422)]
)
def test_a_refusal_says_why(api: ASGIApp, face: FakeFace, error: SipfarmError, status: int) -> None:
    face.names.refuses = error
    answer = ask(api, ALICE, "PUT", body={})
    assert (answer.status, answer.json) == (status, {"error": str(error)})


@pytest.mark.parametrize("path", [D, ALICE, ECHO])
def test_what_is_not_there_is_404(api: ASGIApp, path: str) -> None:
    assert ask(api, path).status == 404


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{", 400, "no JSON"),
        (b"", 400, "no JSON"),
        (b"[]", 422, "object"),
        ({"pasword": "x"}, 422, "pasword"),
        ({"numbers": [1]}, 422, "numbers"),
        ({"numbers": ["1"] * 999}, 422, "allowed are"),
        (b'"' + b"x" * BODY_BYTES_MAX, 413, "longer"),
    ],
)
def test_a_body_that_is_wrong_changes_nothing(
    api: ASGIApp, face: FakeFace, body: object, status: int, reason: str
) -> None:
    answer = ask(api, ALICE, "PUT", body=body)
    assert answer.status == status
    assert reason in answer.json["error"]
    assert face.asked == []


def test_a_password_is_in_no_text_of_what_was_told() -> None:
    assert "hidden" not in repr(AccountBody(password="hidden"))
    assert "hidden" not in repr(NewAccount(name="a", password="hidden"))


def test_changes_need_the_token_and_are_not_for_other_sites(face: FakeFace) -> None:
    guarded = admin_api(face, Secret("a token of a test"))
    assert ask(guarded, ALICE, "PUT", body={}).status == 401
    foreign = {"Origin": "http://evil.test"}
    assert ask(admin_api(face, None), ALICE, "PUT", foreign, {}).status == 403
    assert face.asked == []


def test_the_description_tells_what_is_to_be_told(api: ASGIApp) -> None:
    paths = ask(api, "/openapi.json").json["paths"]
    assert set(paths[f"{DOMAINS}/{{domain}}/accounts/{{name}}"]) == {"get", "put", "delete"}
    told = paths[f"{DOMAINS}/{{domain}}/accounts"]["post"]
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/NewAccount"}
    assert "201" in told["responses"]
