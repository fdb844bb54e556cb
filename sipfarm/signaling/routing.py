"""What a routing policy is shown of a request, and its decisions (RFC 3261 §16.4 to §16.6)."""

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from sipfarm.base.records import SrtpPolicy
from sipfarm.native import Message, OwnAddresses
from sipfarm.signaling.authentication import Identity, TrustedSources, authenticate
from sipfarm.signaling.digest import Digest, Verdict
from sipfarm.signaling.headers import parse_name_addr
from sipfarm.signaling.location import Locations
from sipfarm.signaling.lookups import Lookups
from sipfarm.signaling.message import NameAddrView, Syntax, UriView
from sipfarm.signaling.reply import Reply
from sipfarm.signaling.standing import Standing
from sipfarm.signaling.tenants import Tenants

MediaMode = Literal["relay", "direct", "auto"]


class Decision(msgspec.Struct, frozen=True):
    """What becomes of a request: one of the classes below."""


class Target(msgspec.Struct, frozen=True):
    """One branch of a fork.

    Its Request-URI is `uri`, its route set is `route` and nothing the request brought along.
    `received` ("udp:192.0.2.1:5060") is where the packet goes if there is no `route`; `flow`
    names the flow to use. `others` are further flows to the same phone: one is tried when this
    one proves dead (RFC 5626 §5.3), never beside it. `aor` is whose binding it is: where all flows
    are gone, its next registration is awaited for a while.
    """

    uri: str
    route: tuple[str, ...] = ()
    received: str = ""
    flow: str = ""
    q: int = 1_000
    others: tuple["Target", ...] = ()
    aor: str = ""


class Step(msgspec.Struct, frozen=True):
    """Targets tried in parallel, until all have failed or the time is up (0: no limit)."""

    targets: tuple[Target, ...]
    timeout_ms: int = 0


class Forward(Decision, frozen=True):
    """Forward statefully, step by step (RFC 3261 §16.6); headers go before others come."""

    steps: tuple[Step, ...]
    media: MediaMode = "auto"
    record_route: bool = True
    remove_headers: tuple[str, ...] = ()
    add_headers: tuple[tuple[str, str], ...] = ()


class Reject(Decision, frozen=True):
    """Answer with a final response that is no success."""

    status: int
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class Redirect(Decision, frozen=True):
    """Name other contacts (RFC 3261 §21.3)."""

    contacts: tuple[str, ...]
    status: int = 302


class ChallengeCaller(Decision, frozen=True):
    """Ask for digest credentials: 407, or 401 where the farm is the end (RFC 3261 §22)."""

    realm: str
    proxy: bool = True


class Answer(Decision, frozen=True):
    """Answer in the farm's own name, as OPTIONS is (RFC 3261 §11.2)."""

    reply: Reply


class HandToTask(Decision, frozen=True):
    """Give the call to a task: a stock one by its name, or `module:function`."""

    task: str
    domain: str
    arguments: tuple[str, ...] = ()
    srtp: SrtpPolicy = "off"


class PolicySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the stock policy goes by."""

    tasks: frozenset[str] = frozenset()  # stock tasks that this farm has
    foreign_domains: frozenset[str] = (
        frozenset()
    )  # where accounts may call outside; default nowhere
    no_answer_timeout_ms: int = 30_000  # of a step that another one follows
    last_timeout_ms: int = 180_000  # of the last step: Timer C (RFC 3261 §16.6 step 11)
    branches_max: int = 10
    media: MediaMode = "relay"


class RoutingParts(msgspec.Struct, frozen=True, kw_only=True):
    """What routing stands on; built once by the node."""

    tenants: Tenants
    locations: Locations
    digest: Digest
    trusted: TrustedSources
    own: OwnAddresses
    syntax: Syntax
    settings: PolicySettings = PolicySettings()


class Inquiry:
    """A request as a policy sees it.

    `lookups` answers about domains, users and bindings. A policy just asks: where the caches
    cannot answer, the records are looked up and the policy is called again, so it changes nothing
    before its last question.
    """

    __slots__ = (
        "_caller",
        "_identities",
        "_parts",
        "lookups",
        "request",
        "request_uri",
        "settings",
        "trusted",
    )

    def __init__(
        self, parts: RoutingParts, request: Message, request_uri: UriView, lookups: Lookups
    ) -> None:
        self._parts = parts
        self.request = request
        self.request_uri = request_uri
        self.lookups = lookups
        self.settings = parts.settings
        self.trusted = parts.trusted.include(request.source[0])
        self._caller: NameAddrView | None = None
        self._identities: dict[str, Identity] = {}

    @property
    def caller(self) -> NameAddrView | None:
        """Who it says it is from, unproven; None where From is malformed."""
        if self._caller is None:
            self._caller = parse_name_addr(self._parts.syntax, self.request.header("From") or "")
        return self._caller

    def route(self) -> list[NameAddrView] | None:
        """The Route values that came with the request; nothing where one is malformed."""
        hops: list[NameAddrView] = []
        for value in self.request.values("Route"):
            hop = parse_name_addr(self._parts.syntax, value)
            if hop is None:
                return None
            hops.append(hop)
        return hops

    def identity(self, realm: str, *, proxy: bool = True) -> Identity:
        """What the digest credentials for a domain show; `account` is whom they prove."""
        identity = self._identities.get(realm)
        if identity is None:
            identity = authenticate(
                self.request, realm, self._parts.digest, self.lookups, proxy=proxy
            )
            self._identities[realm] = identity
        return identity

    @property
    def standing(self) -> Standing:
        """What has been found out about the sender so far."""
        if self.trusted:
            return Standing.TRUSTED
        found = Standing.UNPROVEN
        for identity in self._identities.values():
            if identity.account is not None:
                return Standing.PROVEN
            if identity.verdict is Verdict.REFUSED:
                found = Standing.REFUSED
        return found

    def was_stale(self, realm: str) -> bool:
        """Whether the credentials for a domain failed by their nonce alone."""
        identity = self._identities.get(realm)
        return identity is not None and identity.verdict is Verdict.STALE


Policy = Callable[[Inquiry], Decision | Awaitable[Decision]]
"""What routes requests: plain, or a coroutine function that waits for something of its own."""
