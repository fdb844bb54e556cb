"""Requests, records and members for the tests of the transaction users."""

from collections.abc import Awaitable
from typing import TypeVar

from sipfarm.base.errors import CapacityError
from sipfarm.base.records import (
    Account,
    Application,
    Binding,
    Domain,
    NumberTarget,
    RegisterOutcome,
    RegisterUpdate,
    TargetKind,
)
from sipfarm.native import Hop, Message, NameAddr, OwnAddresses, Uri
from sipfarm.signaling.authentication import TrustedSources
from sipfarm.signaling.digest import Digest, DigestSettings, answer_challenge, hash_ha1
from sipfarm.signaling.headers import format_credentials, parse_challenge
from sipfarm.signaling.location import Locations
from sipfarm.signaling.lookup_cache import CacheSettings
from sipfarm.signaling.message import Syntax
from sipfarm.signaling.policy import stock_policy
from sipfarm.signaling.registrar import Registrar, RegistrarSettings
from sipfarm.signaling.registration import Registration
from sipfarm.signaling.reply import Reply
from sipfarm.signaling.router import Router
from sipfarm.signaling.routing import Policy, PolicySettings, RoutingParts
from sipfarm.signaling.standing import Judged
from sipfarm.signaling.tenants import Tenants

T = TypeVar("T")

KEY = b"k" * 32
NOW_MS = 1_000_000
WALL_MS = 1_700_000_000_000
PHONE = ("192.0.2.10", 5060)
OWN = OwnAddresses(("127.0.0.1", "198.51.100.1"), (5060, 5061))

SYNTAX = Syntax(Uri.parse, NameAddr.parse)


class PlainRequest(Message):
    """A received request, and the lines it was made of."""

    def __init__(
        self,
        method: str,
        request_uri: str,
        lines: list[tuple[str, str]],
        source: tuple[str, int] = PHONE,
        transport: str = "udp",
    ) -> None:
        self.lines = lines
        head = [f"{method} {request_uri} SIP/2.0", *[f"{name}: {value}" for name, value in lines]]
        super().__init__("\r\n".join([*head, "", ""]).encode(), Hop(transport, *source))

    def with_lines(self, *lines: tuple[str, str], branch: str = "") -> "PlainRequest":
        """A later request with more lines, in a transaction of its own if a branch is given."""
        kept = [
            (name, value.replace("branch=z9hG4bK", f"branch=z9hG4bK{branch}", 1))
            if branch and name == "Via"
            else (name, value)
            for name, value in self.lines
        ]
        return PlainRequest(
            self.method, self.request_uri, [*kept, *lines], self.source, self.transport
        )

    def from_source(self, source: tuple[str, int]) -> "PlainRequest":
        return PlainRequest(self.method, self.request_uri, self.lines, source, self.transport)


def request(
    method: str = "INVITE",
    request_uri: str = "sip:bob@example.test",
    *lines: tuple[str, str],
    caller: str = "<sip:alice@example.test>;tag=a1",
    to: str = "",
    call_id: str = "call-1",
    cseq: int = 1,
    source: tuple[str, int] = PHONE,
    transport: str = "udp",
    branch: str = "1",
) -> PlainRequest:
    """A request as a phone sends it; further lines as given."""
    host = f"[{source[0]}]" if ":" in source[0] else source[0]
    via = f"SIP/2.0/{transport.upper()} {host}:{source[1]};rport;branch=z9hG4bK{branch}"
    common = [
        ("Via", via),
        ("From", caller),
        ("To", to or f"<{request_uri}>"),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
    ]
    return PlainRequest(method, request_uri, [*common, *lines], source, transport)


def register(
    *lines: tuple[str, str],
    aor: str = "sip:alice@example.test",
    request_uri: str = "sip:example.test",
    source: tuple[str, int] = PHONE,
    transport: str = "udp",
    via: tuple[str, int] | None = None,
    cseq: int = 1,
) -> PlainRequest:
    """A REGISTER; `via` is what the phone believes its address to be."""
    made = request(
        "REGISTER",
        request_uri,
        *lines,
        caller=f"<{aor}>;tag=r1",
        to=f"<{aor}>",
        call_id="reg-1",
        cseq=cseq,
        source=source,
        transport=transport,
    )
    if via is None:
        return made
    value = f"SIP/2.0/{transport.upper()} {via[0]}:{via[1]};rport;branch=z9hG4bK1"
    return PlainRequest(
        "REGISTER", request_uri, [("Via", value), *made.lines[1:]], source, transport
    )


def account(name: str, domain: str = "example.test", **more: tuple[str, ...]) -> Account:
    """An account whose password is its name and `-pw`."""
    return Account(
        domain,
        name,
        hash_ha1(name, domain, f"{name}-pw", "MD5"),
        hash_ha1(name, domain, f"{name}-pw", "SHA-256"),
        **more,
    )


def binding(
    contact: str,
    aor: str = "sip:bob@example.test",
    *,
    q: int = 1_000,
    instance_id: str = "",
    reg_id: int = 0,
    expires_s: int = 600,
    path: tuple[str, ...] = (),
    received: str = "",
    flow: str = "",
) -> Binding:
    return Binding(
        aor,
        contact,
        contact,
        "reg",
        1,
        WALL_MS + expires_s * 1_000,
        instance_id,
        reg_id,
        path,
        q,
        received,
        flow,
    )


def answered(made: PlainRequest, challenge: Reply, user: str, **changes: str) -> str:
    """The Authorization value a phone answers the first challenge with; `changes` spoil it."""
    offered = parse_challenge(challenge.headers[0][1])
    assert offered is not None
    name = changes.get("name", user)
    password = changes.get("password", f"{user}-pw")
    ha1 = hash_ha1(name, offered.realm, password, offered.algorithm)
    use = ("cn0nce", int(changes.get("nc", "1"), 16))
    uri = changes.get("uri", made.request_uri)
    return format_credentials(answer_challenge(offered, name, ha1, (made.method, uri), use))


class Records:
    """A store of names and bindings that counts its look-ups and can be away."""

    def __init__(self) -> None:
        self.domains: dict[str, Domain] = {}
        self.accounts: dict[tuple[str, str], Account] = {}
        self.applications: dict[tuple[str, str], Application] = {}
        self.aors: dict[str, tuple[Binding, ...]] = {}
        self.asked: list[tuple[str, ...]] = []
        self.is_away = False

    def add(self, *records: Domain | Account | Application) -> None:
        for record in records:
            if isinstance(record, Domain):
                self.domains[record.name] = record
            elif isinstance(record, Account):
                self.accounts[record.domain, record.name] = record
            else:
                self.applications[record.domain, record.name] = record

    def _ask(self, *question: str) -> None:
        self.asked.append(question)
        if self.is_away:
            raise CapacityError("the store is away")

    async def domain(self, name: str) -> Domain | None:
        self._ask("domain", name)
        return self.domains.get(name)

    async def account(self, domain: str, name: str) -> Account | None:
        self._ask("account", domain, name)
        return self.accounts.get((domain, name))

    async def application(self, domain: str, name: str) -> Application | None:
        self._ask("application", domain, name)
        return self.applications.get((domain, name))

    async def number(self, domain: str, number: str) -> NumberTarget | None:
        self._ask("number", domain, number)
        for found in self.accounts.values():
            if found.domain == domain and number in (*found.numbers, *found.aliases):
                return NumberTarget(TargetKind.ACCOUNT, found.name)
        for application in self.applications.values():
            if application.domain == domain and number in application.numbers:
                return NumberTarget(TargetKind.APPLICATION, application.name)
        return None

    async def bindings(self, aor: str, wall_ms: int) -> tuple[Binding, ...]:
        self._ask("bindings", aor)
        return self.aors.get(aor, ())


def now(result: T | Awaitable[T]) -> T:
    """The result, awaiting it where it must wait for the records (which here answer at once)."""
    if not isinstance(result, Awaitable):
        return result
    steps = result.__await__()
    try:
        next(steps)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits for something else than the records")


class Member:
    """The transaction users of one member over some records."""

    def __init__(
        self,
        records: Records,
        *,
        policy: Policy | None = None,
        settings: PolicySettings | None = None,
        digest: DigestSettings | None = None,
        registrar: RegistrarSettings | None = None,
        trusted: tuple[str, ...] = (),
        number: int = 1,
        cache: CacheSettings | None = None,
    ) -> None:
        self.records = records
        cache = cache or CacheSettings()
        self.tenants = Tenants(records, cache)
        self.locations = Locations(records, cache)
        self.digest = Digest(digest or DigestSettings(), (KEY,), number, OWN)
        sources = TrustedSources(trusted)
        self.registration = Registration(
            Registrar(registrar or RegistrarSettings(), OWN),
            self.digest,
            sources,
            (self.tenants, self.locations),
            OWN,
        )
        parts = RoutingParts(
            tenants=self.tenants,
            locations=self.locations,
            digest=self.digest,
            trusted=sources,
            own=OWN,
            syntax=SYNTAX,
            settings=settings or PolicySettings(tasks=frozenset({"echo", "conference"})),
        )
        self.router = Router(parts, policy or stock_policy)

    def judge(self, made: PlainRequest, wall_ms: int = WALL_MS) -> Judged[object]:
        """The decision, or a registration's update or answer, and what was found of the sender."""
        times = (NOW_MS + wall_ms - WALL_MS, wall_ms)
        if made.method == "REGISTER":
            return now(self.registration.receive(made, "", times))
        return now(self.router.decide(made, times))

    def decide(self, made: PlainRequest, wall_ms: int = WALL_MS) -> object:
        return now(self.router.decide(made, (NOW_MS + wall_ms - WALL_MS, wall_ms))).result

    def receive(
        self, made: PlainRequest, wall_ms: int = WALL_MS, flow_mark: str = ""
    ) -> RegisterUpdate | Reply:
        times = (NOW_MS + wall_ms - WALL_MS, wall_ms)
        return now(self.registration.receive(made, flow_mark, times)).result

    def register(self, made: PlainRequest, flow_mark: str = "") -> Reply:
        """A whole registration over records that take every update as it is."""
        update = self.receive(made, flow_mark=flow_mark)
        if isinstance(update, Reply):
            return update
        outcome = RegisterOutcome("applied", update.contacts)
        return self.registration.answer(made, update, outcome, (NOW_MS, WALL_MS))


def example_records() -> Records:
    """Two domains with accounts, an application, and bob at one phone."""
    records = Records()
    records.add(
        Domain("example.test"),
        Domain("127.0.0.1"),
        account("alice", aliases=("al",), numbers=("1001",)),
        account("bob", numbers=("1002", "+15551002")),
        account("carol"),
        account("dora", "127.0.0.1"),
        Application("example.test", "menu", "shop.menu:run", ("600",)),
        Application("example.test", "parrot", "", ()),
    )
    records.aors["sip:bob@example.test"] = (binding("sip:bob@192.0.2.20:5060"),)
    return records
