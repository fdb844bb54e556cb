"""Forty members of one farm: a setting that is changed through one is heeded by all."""

import asyncio
from pathlib import Path

import pytest
from starlette.applications import Starlette

from sipfarm.admin.api import REFUSALS
from sipfarm.admin.names_api import names_routes
from sipfarm.base.farm_view import View
from sipfarm.cluster.membership_settings import MembershipSettings
from sipfarm.node.names_face import NamesOfFarm
from tests.admin.conftest import asked_of
from tests.cluster.farm_member import FarmMember, farm_of

MEMBERS = 40
HEEDED_WITHIN_S = 2.0
EASY = MembershipSettings(
    heartbeat_ms=800, suspect_after_ms=8_000, dead_after_ms=12_000, registry_ms=500
)
"""All share one core here: the shipped interval of the registry, and fewer heartbeats."""


class Told:
    """The member behind a face."""

    def __init__(self, member: FarmMember) -> None:
        self._member = member

    def names_changed(self) -> None:
        self._member.farm.read_registry()

    def unbound(self, aor: str) -> None:
        """Nothing is cached here."""


def api_of(member: FarmMember) -> Starlette:
    """The part of a member's admin API that names are set by."""
    face = NamesOfFarm(member.store, member.clock.wall_ms, Told(member))
    return Starlette(routes=names_routes(face), exception_handlers=REFUSALS)


def shown(view: View) -> list[int]:
    return [member.standing.names_revision for member in view.members]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_change_through_any_of_forty_members_is_heeded_by_all(tmp_path: Path) -> None:
    async def body() -> None:
        url = f"sqlite:{tmp_path / 'farm.db'}"
        names = [f"m{number}" for number in range(1, MEMBERS + 1)]
        async with farm_of(url, *names, times=EASY) as (happenings, members):
            added = await asked_of(
                api_of(members[6]), "/api/v1/domains", "POST", body={"name": "d.test"}
            )
            assert added.status == 201
            for number in (0, 17, 39):
                told = {"password": f"of-member-{number}"}
                path = f"/api/v1/domains/d.test/accounts/a{number}"
                change = await asked_of(api_of(members[number]), path, "PUT", body=told)
                assert change.status == 200
                revision = change.json["revision"]
                async with asyncio.timeout(HEEDED_WITHIN_S):
                    await happenings.until(
                        lambda wanted=revision: all(
                            ("names", wanted) in member.said for member in members
                        )
                    )
                for member in members:
                    listed = await asked_of(api_of(member), "/api/v1/domains/d.test/accounts")
                    assert f"a{number}" in [account["name"] for account in listed.json]
            # And each member can show that all of them did.
            await happenings.until(
                lambda: all(shown(m.farm.view()) == [4] * MEMBERS for m in members)
            )

    asyncio.run(body())
