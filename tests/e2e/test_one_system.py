"""The farm is one system to its operator: what is set through one member holds at all."""

import time
from collections.abc import Callable, Iterator

import pytest

from sipfarm.admin.bodies import AccountBody, NewAccount
from sipfarm.admin.views import ChangeView
from sipfarm.testing.eventually import eventually
from sipfarm.testing.plain_phone import PlainPhone, authorization
from sipfarm.testing.real_farm import DOMAIN, RealFarm

pytestmark = [pytest.mark.early, pytest.mark.timeout(120)]

HEEDED_WITHIN_S = 2.0
REGISTRAR = f"sip:{DOMAIN}"
ACCOUNTS = f"/api/v1/domains/{DOMAIN}/accounts"


@pytest.fixture(scope="module")
def farm(start_farm: Callable[..., RealFarm]) -> RealFarm:
    """Each member can be spoken to by itself."""
    started = start_farm(at_rest=True, members=3, apart=True)
    started.wait_for(dict.fromkeys(started.names, "ready"), 20.0)
    return started


@pytest.fixture
def phone(farm: RealFarm) -> Iterator[PlainPhone]:
    """It speaks to the first member."""
    with PlainPhone(farm.untrusted(1), farm.addresses[0]) as phone:
        yield phone


def register(phone: PlainPhone, user: str, password: str) -> int:
    """The status that a REGISTER comes to, a challenge answered."""
    aor = f"{user}@{DOMAIN}"
    challenge = phone.ask(phone.request("REGISTER", REGISTRAR, aor, to=aor))
    if challenge.status != 401:
        return challenge.status
    offered = challenge.headers("WWW-Authenticate")[0]
    proof = authorization(offered, "REGISTER", REGISTRAR, user, password)
    return phone.ask(phone.request("REGISTER", REGISTRAR, aor, proof, to=aor)).status


def wait_heeded(farm: RealFarm, change: ChangeView) -> None:
    """Until each member, asked at each member, shows the revision of a change."""
    eventually(
        lambda: all(
            (member.revision or 0) >= change.revision
            for asked in farm.names
            for member in farm.members(asked)
        ),
        f"all members show revision {change.revision}",
        HEEDED_WITHIN_S,
        lambda: {asked: farm.members(asked) for asked in farm.names},
    )


def test_an_account_added_through_one_member_registers_at_once_through_another(
    farm: RealFarm, phone: PlainPhone
) -> None:
    assert register(phone, "carol", "carol-secret") != 200, "and that is remembered for a while"
    new = NewAccount(name="carol", password="carol-secret", numbers=("2001",))
    wait_heeded(farm, farm.admin("m2").post(ACCOUNTS, ChangeView, new))
    assert register(phone, "carol", "carol-secret") == 200


def test_a_changed_password_and_a_removed_account_hold_at_all_members(
    farm: RealFarm, phone: PlainPhone
) -> None:
    path = f"{ACCOUNTS}/dave"
    old, new = AccountBody(password="old-secret"), AccountBody(password="new-secret")
    wait_heeded(farm, farm.admin("m1").put(path, ChangeView, old))
    assert register(phone, "dave", "old-secret") == 200
    wait_heeded(farm, farm.admin("m3").put(path, ChangeView, new))
    assert register(phone, "dave", "old-secret") != 200
    assert register(phone, "dave", "new-secret") == 200
    wait_heeded(farm, farm.admin("m2").delete(path, ChangeView))
    assert register(phone, "dave", "new-secret") != 200
    assert not [row for row in farm.registrations() if row.aor == f"sip:dave@{DOMAIN}"]


def test_provisioning_a_file_is_heeded_without_a_word_to_any_member(
    farm: RealFarm, phone: PlainPhone
) -> None:
    assert register(phone, "erin", "erin-secret") != 200
    before = max(member.revision or 0 for member in farm.members())
    farm.provision(f'[[domain]]\nname = "{DOMAIN}"\n[[domain.account]]\nname = "erin"\n'
                   'password = "erin-secret"\n')  # fmt: skip
    began_s = time.monotonic()
    wait_heeded(farm, ChangeView(revision=before + 1))
    assert time.monotonic() - began_s < HEEDED_WITHIN_S
    assert register(phone, "erin", "erin-secret") == 200
