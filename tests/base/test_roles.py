import pytest

from sipfarm.base.roles import ROLES, fault_of


@pytest.mark.parametrize("roles", [ROLES, ("pbx", "media"), ("edge",)])
def test_what_a_member_may_be(roles: tuple[str, ...]) -> None:
    assert fault_of(roles, by_flow=False) == ""


@pytest.mark.parametrize(
    ("roles", "by_flow", "reason"),
    [
        ((), False, "at least one role"),
        (("edge", "boss"), False, '"boss" is no role'),
        (("edge", "pbx"), False, '"pbx" needs "media"'),
        (("media",), False, '"media" needs "pbx"'),
        (("edge",), True, 'needs balancing "packet"'),
    ],
)
def test_why_a_member_cannot_be_something(
    roles: tuple[str, ...], by_flow: bool, reason: str
) -> None:
    assert reason in fault_of(roles, by_flow=by_flow)
