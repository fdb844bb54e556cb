"""What members remember for each other while the store is away."""

import asyncio
from collections.abc import Mapping

import msgspec
import pytest

from sipfarm.base.errors import CapacityError, SipfarmError
from sipfarm.base.records import Application, Domain
from sipfarm.cluster.io.calls import CallFailed, Unanswered
from sipfarm.node.recollection import RECALL, OtherMembers, recalled
from sipfarm.signaling.location import Locations
from sipfarm.signaling.lookup_cache import CacheSettings
from sipfarm.signaling.recollection import NOTHING, Question, Remembered
from sipfarm.signaling.tenants import Tenants
from tests.signaling.plain_sip import NOW_MS, WALL_MS, Records, account, binding

ALICE = Question("addressee", "example.test", "alice")
KNOWN = Remembered(account=account("alice"))


def away() -> Records:
    """A store that does not answer."""
    made = Records()
    made.is_away = True
    return made


class Caches:
    """One member's."""

    def __init__(self, records: Records, bus: "LinkedMembers | None" = None) -> None:
        others = OtherMembers(bus) if bus else None
        self.tenants = Tenants(records, CacheSettings(), others)
        self.locations = Locations(records, CacheSettings(), others)


class LinkedMembers:
    """The others, by their numbers; who is None does not answer."""

    def __init__(self, members: Mapping[int, Caches | None]) -> None:
        self.linked = members
        self.asked = 0

    async def call(self, number: int, method: str, arguments: bytes, timeout_s: float) -> bytes:
        self.asked += 1
        member = self.linked[number]
        if member is None:
            raise CallFailed(Unanswered.TIMEOUT)
        return recalled(member, method, arguments)


def member_that_knows(records: Records) -> Caches:
    """It has looked up everything once, long ago."""
    made = Caches(records)

    async def look_up() -> None:
        await made.tenants.fetch_domain("example.test", NOW_MS - 1_000_000)
        for user in ("alice", "echo", "nobody"):
            await made.tenants.fetch_addressee("example.test", user, NOW_MS - 1_000_000)
        await made.locations.fetch("sip:alice@example.test", NOW_MS - 1_000_000, WALL_MS)

    asyncio.run(look_up())
    return made


@pytest.fixture
def records() -> Records:
    made = Records()
    made.add(Domain("example.test"), account("alice"), Application("example.test", "echo"))
    made.aors["sip:alice@example.test"] = (binding("sip:alice@192.0.2.1"),)
    return made


def test_a_member_that_knows_nothing_has_it_from_one_that_does(records: Records) -> None:
    bus = LinkedMembers({2: Caches(away()), 3: member_that_knows(records), 4: None})
    asking = Caches(away(), bus)

    async def look_up() -> None:
        tenants, locations = asking.tenants, asking.locations
        assert await tenants.fetch_domain("example.test", NOW_MS) == Domain("example.test")
        assert await tenants.fetch_addressee("example.test", "alice", NOW_MS) == account("alice")
        echo = await tenants.fetch_addressee("example.test", "echo", NOW_MS)
        assert echo == Application("example.test", "echo")
        assert await tenants.fetch_addressee("example.test", "nobody", NOW_MS) is None
        found = await locations.fetch("sip:alice@example.test", NOW_MS, WALL_MS)
        assert found == (binding("sip:alice@192.0.2.1"),)
        assert locations.peek("sip:alice@example.test", NOW_MS) == found

    asyncio.run(look_up())


def test_where_nobody_remembers_the_outage_is_told(records: Records) -> None:
    bus = LinkedMembers({2: Caches(away()), 3: None})
    asking = Caches(away(), bus)
    with pytest.raises(CapacityError):
        asyncio.run(asking.tenants.fetch_addressee("example.test", "alice", NOW_MS))
    assert bus.asked == 2


def test_one_that_knows_the_record_is_believed_before_one_that_knows_of_none(
    records: Records,
) -> None:
    other = Records()
    other.add(Domain("example.test"))
    bus = LinkedMembers({2: member_that_knows(other), 3: member_that_knows(records)})
    assert asyncio.run(OtherMembers(bus).ask(ALICE)) == KNOWN
    assert asyncio.run(OtherMembers(LinkedMembers({2: bus.linked[2]})).ask(ALICE)) == NOTHING


def test_nobody_is_asked_while_the_store_answers(records: Records) -> None:
    bus = LinkedMembers({2: None})
    asking = Caches(records, bus)
    assert asyncio.run(asking.tenants.fetch_addressee("example.test", "alice", NOW_MS))
    assert not bus.asked


@pytest.mark.parametrize("arguments", [b"", b"\xc1", b"\x93\xa3one\xa1a\xa1b"])
def test_a_question_that_is_none_is_refused(records: Records, arguments: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        recalled(Caches(records), RECALL, arguments)
    with pytest.raises(SipfarmError, match="no such method: forget"):
        recalled(Caches(records), "forget", arguments)
