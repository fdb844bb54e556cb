import re

import pytest
from starlette.types import ASGIApp

from sipfarm.admin.api import admin_api
from sipfarm.admin.requests import LIMIT, LIMIT_MAX
from sipfarm.base.secrets import Secret
from tests.admin.conftest import FakeFace, ask

TOKEN = "a token of a test"
GETS = (
    "/metrics", "/openapi.json", "/api/v1/member", "/api/v1/members", "/api/v1/calls",
    "/api/v1/bans", "/api/v1/registrations", "/api/v1/domains",
    "/api/v1/domains/example.test/accounts",
)  # fmt: skip


@pytest.fixture
def api(face: FakeFace) -> ASGIApp:
    return admin_api(face, None)


@pytest.mark.parametrize("path", [*GETS, "/healthz", "/readyz"])
def test_each_path_answers(api: ASGIApp, path: str) -> None:
    assert ask(api, path).status == 200


def test_a_member_is_shown_with_its_state_and_incarnation(api: ASGIApp) -> None:
    answer = ask(api, "/api/v1/members")
    (member,) = answer.json
    assert answer.headers["content-type"] == "application/json"
    assert (member["name"], member["state"], member["incarnation"]) == ("m1", "ready", 7)


@pytest.mark.parametrize(("query", "count"), [("", 1), ("?farm=1", 2)])
def test_bans_are_shown_and_lifted(api: ASGIApp, query: str, count: int) -> None:
    assert len(ask(api, f"/api/v1/bans{query}").json) == count
    lifted = ask(api, f"/api/v1/bans/2001:db8::/lift{query}", "POST")
    assert [ban["address"] for ban in lifted.json] == ["2001:db8::"] * count
    refused = ask(api, f"/api/v1/bans/192.0.2.1/lift{query}", "POST")
    assert (refused.status, refused.json["error"]) == (404, "192.0.2.1 is not banned")


def test_a_draining_member_is_not_ready(api: ASGIApp) -> None:
    assert ask(api, "/api/v1/members/m1/drain", "POST").json["state"] == "draining"
    assert ask(api, "/readyz").status == 503
    assert ask(api, "/healthz").status == 200
    assert ask(api, "/api/v1/members/m1/undrain", "POST").json["state"] == "ready"
    assert ask(api, "/readyz").status == 200


@pytest.mark.parametrize(("name", "status"), [("m9", 404), ("m8", 503)])
def test_a_member_that_cannot_be_drained_is_told_so(api: ASGIApp, name: str, status: int) -> None:
    answer = ask(api, f"/api/v1/members/{name}/drain", "POST")
    assert answer.status == status
    assert name in answer.json["error"]


def test_a_member_is_told_its_roles(api: ASGIApp) -> None:
    answer = ask(api, "/api/v1/members/m2/roles", "POST", body={"roles": ["edge"]})
    assert (answer.status, answer.json["roles"]) == (200, ["edge"])
    refused = ask(api, "/api/v1/members/m8/roles", "POST", body={"roles": ["edge"]})
    assert (refused.status, "last member" in refused.json["error"]) == (409, True)
    assert ask(api, "/api/v1/members/m2/roles", "POST", body={}).status == 422


def test_a_look_does_not_drain(api: ASGIApp, face: FakeFace) -> None:
    assert ask(api, "/api/v1/members/m1/drain").status == 405
    assert face.is_ready


def test_a_store_that_is_away_is_told_with_when_to_come_again(api: ASGIApp, face: FakeFace) -> None:
    face.store_is_away = True
    answer = ask(api, "/api/v1/members")
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    assert "store unavailable" in answer.json["error"]


def test_what_is_not_there_is_refused_as_json(api: ASGIApp) -> None:
    answer = ask(api, "/api/v1/nothing")
    assert (answer.status, set(answer.json)) == (404, {"error"})


def test_calls_are_of_this_member_unless_the_farm_is_asked_for(
    api: ASGIApp, face: FakeFace
) -> None:
    assert len(ask(api, "/api/v1/calls").json) == 1
    assert len(ask(api, "/api/v1/calls?farm=1&limit=5").json) == 2
    assert len(ask(api, "/api/v1/calls?farm=0").json) == 1
    assert face.asked == [("calls", LIMIT, ""), ("farm_calls", 5, ""), ("calls", LIMIT, "")]


def test_lists_can_be_narrowed(api: ASGIApp, face: FakeFace) -> None:
    ask(api, "/api/v1/registrations?domain=example.test&limit=3")
    ask(api, "/api/v1/domains/example.test/accounts?limit=4")
    assert face.asked == [
        ("registrations", "example.test", 3, ""),
        ("accounts", "example.test", 4),
    ]


def test_a_page_of_a_list_leads_to_the_next_one(api: ASGIApp, face: FakeFace) -> None:
    """RFC 8288."""
    first = ask(api, "/api/v1/calls?farm=1&limit=2")
    assert len(first.json) == 2
    assert first.headers["link"] == '<?farm=1&limit=2&after=a-cursor>; rel="next"'
    last = ask(api, "/api/v1/calls?farm=1&limit=2&after=a-cursor")
    assert "link" not in last.headers
    assert face.asked == [("farm_calls", 2, ""), ("farm_calls", 2, "a-cursor")]
    bindings = ask(api, "/api/v1/registrations")
    assert bindings.headers["link"] == '<?after=a%26b>; rel="next"'
    assert "link" not in ask(api, "/api/v1/registrations?after=a%26b").headers


def test_a_cursor_of_no_list_is_refused(api: ASGIApp) -> None:
    answer = ask(api, "/api/v1/calls?after=bad")
    assert answer.status == 400
    assert answer.json["error"] == "after: that is no cursor of this list"


@pytest.mark.parametrize(
    "limit", ["0", "-1", "x", "", str(LIMIT_MAX + 1), "9" * 99, "0" * 9 + "5", "٣"]
)
def test_a_list_has_a_bound(api: ASGIApp, face: FakeFace, limit: str) -> None:
    answer = ask(api, f"/api/v1/calls?limit={limit}")
    assert answer.status == 400
    assert str(LIMIT_MAX) in answer.json["error"]
    assert face.asked == []


@pytest.mark.parametrize("path", GETS)
@pytest.mark.parametrize("given", [None, "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", ""])
def test_with_a_token_only_its_bearer_is_served(
    face: FakeFace, path: str, given: str | None
) -> None:
    api = admin_api(face, Secret(TOKEN))
    headers = {} if given is None else {"Authorization": given}
    answer = ask(api, path, headers=headers)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert ask(api, path, headers={"Authorization": f"Bearer {TOKEN}"}).status == 200


def test_with_a_token_commands_need_it_too(face: FakeFace) -> None:
    assert ask(admin_api(face, Secret(TOKEN)), "/api/v1/members/m1/drain", "POST").status == 401
    assert face.is_ready


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_balancer_needs_no_token(face: FakeFace, path: str) -> None:
    assert ask(admin_api(face, Secret(TOKEN)), path, headers={"Host": "farm.test"}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://evil.test:8081", "Host": "evil.test:8081"},
        {"Host": "evil.test:8081"},
        {"Host": "127.0.0.1.evil.test"},
        {"Host": ""},
    ],
)
def test_without_a_token_a_page_of_another_site_can_do_nothing(
    api: ASGIApp, face: FakeFace, headers: dict[str, str]
) -> None:
    assert ask(api, "/api/v1/members/m1/drain", "POST", headers).status == 403
    assert face.is_ready


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1"},
        {"Host": "[::1]:8081"},
        {"Host": "[::1]"},
        {"Host": "localhost:8081"},
        {"Origin": "http://127.0.0.1:8081"},
    ],
)
def test_without_a_token_programs_of_this_machine_are_served(
    api: ASGIApp, headers: dict[str, str]
) -> None:
    assert ask(api, "/api/v1/members", headers=headers).status == 200


def test_the_description_names_each_path_and_each_schema(api: ASGIApp) -> None:
    description = ask(api, "/openapi.json").json
    for path in (*GETS[2:-1], "/api/v1/members/{name}/drain", "/healthz"):
        assert path in description["paths"]
    named = set(re.findall(r"#/components/schemas/(\w+)", str(description)))
    assert {"MemberView", "CallView"} <= named <= set(description["components"]["schemas"])
