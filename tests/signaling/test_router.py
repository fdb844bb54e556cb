"""Running a policy: plain or awaited, the stock one or a provider's."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipfarm.base.errors import StartError, UsageError
from sipfarm.signaling.routing import (
    Answer,
    ChallengeCaller,
    Decision,
    Forward,
    Inquiry,
    Redirect,
    Reject,
    Step,
    Target,
)
from sipfarm.signaling.routing_loader import load_policy
from tests.signaling.plain_sip import Member, example_records, request


async def awaited_policy(inquiry: Inquiry) -> Decision:
    """Asks for records in a coroutine; the router starts it again once they are there."""
    domain = inquiry.lookups.domain("example.test")
    missing = inquiry.lookups.domain("nowhere.test")
    assert domain is not None
    assert missing is None
    return Redirect((f"sip:{domain.name}",))


def test_an_awaited_policy_decides() -> None:
    assert Member(example_records(), policy=awaited_policy).decide(request()) == Redirect(
        ("sip:example.test",)
    )


def test_a_policy_of_a_providers_own_challenges_with_401() -> None:
    member = Member(
        example_records(), policy=lambda _inquiry: ChallengeCaller("example.test", proxy=False)
    )
    decision = member.decide(request())
    assert isinstance(decision, Reject)
    assert (decision.status, decision.headers[0][0]) == (401, "WWW-Authenticate")


@pytest.mark.parametrize("answer", [None, 200, "sip:bob@example.test"])
def test_an_answer_that_is_no_decision_is_a_fault_of_the_policy(answer: object) -> None:
    def policy(_inquiry: Inquiry) -> Decision:
        return answer  # type: ignore[return-value]

    with pytest.raises(UsageError, match="no Decision"):
        Member(example_records(), policy=policy).decide(request())


@pytest.mark.parametrize("count", [0, 33])
def test_a_fork_without_targets_or_with_too_many_is_a_fault_of_the_policy(count: int) -> None:
    steps = (Step(tuple([Target("sip:a@192.0.2.1")] * count)),)
    member = Member(example_records(), policy=lambda _inquiry: Forward(steps))
    with pytest.raises(UsageError, match="targets"):
        member.decide(request())


def test_a_policy_that_asks_without_end_is_stopped() -> None:
    def policy(inquiry: Inquiry) -> Decision:
        for number in range(1_000):
            inquiry.lookups.domain(f"d{number}.test")
        return Reject(404)

    decision = Member(example_records(), policy=policy).decide(request())
    assert isinstance(decision, Reject)
    assert decision.status == 503


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Path]:
    """A place for a provider's modules, on the import path."""
    known = set(sys.modules)
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_a_providers_policy_is_loaded(provider: Path) -> None:
    (provider / "house_rules.py").write_text(
        "from sipfarm.signaling.routing import Answer\n"
        "from sipfarm.signaling.reply import Reply\n"
        "def route(inquiry):\n"
        "    return Answer(Reply(200))\n"
    )
    member = Member(example_records(), policy=load_policy("house_rules:route"))
    assert isinstance(member.decide(request()), Answer)


def test_the_stock_policy_is_loaded_by_name() -> None:
    policy = load_policy("sipfarm.signaling.policy:stock_policy")
    assert isinstance(Member(example_records(), policy=policy).decide(request()), Reject)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("house_rules", "", "not of the form module:function"),
        ("house rules:route", "", "not of the form module:function"),
        ("../rules:route", "", "not of the form module:function"),
        ("no_rules:route", "", "there is no module no_rules"),
        ("broken_a:route", "import not_installed_anywhere", "needs not_installed_anywhere"),
        ("broken_b:route", "def route(:", "cannot be imported"),
        ("broken_c:route", "from sipfarm.base import no_such", "cannot be imported"),
        ("broken_d:route", "x = 1", "has no route"),
        ("broken_e:route", "route = 1", "is no function"),
        ("broken_f:route", "def route(): ...", "must take one argument"),
        ("broken_g:route", "def route(a, b): ...", "must take one argument"),
    ],
)
def test_a_policy_that_cannot_be_used_is_named_with_the_reason(
    provider: Path, name: str, text: str, said: str
) -> None:
    (provider / f"{name.partition(':')[0].strip('./')}.py").write_text(text)
    if name.startswith("no_rules"):
        (provider / "no_rules.py").unlink()
    with pytest.raises(StartError) as raised:
        load_policy(name)
    assert said in str(raised.value)
    assert name in str(raised.value)
