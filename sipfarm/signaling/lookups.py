"""What one decision asks of the farm's records.

A decision is a plain function. Where the caches cannot answer it, the question leaves it as
`Pending`; whoever runs the decision awaits `settle` and runs it once more. So the fast path knows
nothing of waiting, and an answer once given to a decision stays the same for it.
"""

from collections.abc import Callable
from typing import Final, Self, TypeVar

from sipfarm.base.errors import CapacityError
from sipfarm.base.limits import AOR_BYTES_MAX
from sipfarm.base.records import Binding, Domain
from sipfarm.native import OwnAddresses
from sipfarm.signaling.location import Locations
from sipfarm.signaling.lookup_cache import UNKNOWN
from sipfarm.signaling.message import UriView, canonical_host, is_address
from sipfarm.signaling.recollection import Kind
from sipfarm.signaling.tenants import Addressee, Tenants

R = TypeVar("R")

LOOKUPS_MAX: Final = 24  # of one decision
HOST_CHARS_MAX: Final = 255

_Found = Domain | Addressee | tuple[Binding, ...] | None


class Pending(Exception):
    """A question that only the store can answer."""

    def __init__(self, kind: Kind, scope: str, name: str = "") -> None:
        super().__init__(kind, scope, name)
        self.question = (kind, scope, name)

    def bare(self) -> Self:
        """Without its traceback, whose frames would hold the request until the collector comes."""
        return self.with_traceback(None)


class Lookups:
    """The records as one decision sees them."""

    __slots__ = ("_found", "_locations", "_own", "_tenants", "now_ms", "wall_ms")

    def __init__(
        self,
        tenants: Tenants,
        locations: Locations,
        own: OwnAddresses,
        times: tuple[int, int],
    ) -> None:
        self._tenants = tenants
        self._locations = locations
        self._own = own
        self.now_ms, self.wall_ms = times
        self._found: dict[tuple[Kind, str, str], _Found] = {}

    def domain(self, name: str) -> Domain | None:
        """A domain of the farm by its canonical name."""
        if len(name) > HOST_CHARS_MAX or not _is_name(name):
            return None
        found = self._tenants.peek_domain(name, self.now_ms)
        if found is not UNKNOWN:
            return found
        settled = self._settled("domain", name)
        return settled if isinstance(settled, Domain) else None

    def addressee(self, domain: str, user: str) -> Addressee | None:
        """Whom a user part stands for in a domain."""
        if len(user) > AOR_BYTES_MAX or not _is_name(user):
            return None
        found = self._tenants.peek_addressee(domain, user, self.now_ms)
        if found is not UNKNOWN:
            return found
        settled = self._settled("addressee", domain, user)
        return settled if isinstance(settled, Addressee) else None

    def bindings(self, aor: str) -> tuple[Binding, ...]:
        """The bindings of an address-of-record; expired ones may be among them."""
        found = self._locations.peek(aor, self.now_ms)
        if found is not UNKNOWN:
            return found
        settled = self._settled("bindings", aor)
        return settled if isinstance(settled, tuple) else ()

    def domain_of(self, uri: UriView) -> Domain | None:
        """The domain of the farm that a URI is in.

        A domain may be named by an IP address; that address with a port which is not ours is a
        phone (DESIGN §6).
        """
        host, port = canonical_host(uri.host), uri.port
        if port and not self._own.has_port(port) and is_address(host):
            return None
        return self.domain(host)

    def is_farm(self, uri: UriView) -> bool:
        """Whether a URI's host is one of the farm's own addresses."""
        return self._own.include(canonical_host(uri.host), uri.port)

    def leads_here(self, uri: UriView) -> bool:
        """Whether a request sent to this URI comes back to the farm."""
        port = uri.port
        if port and not self._own.has_port(port) and is_address(uri.host):
            return False  # a phone, as nearly all contacts are
        return self.is_farm(uri) or self.domain_of(uri) is not None

    def _settled(self, kind: Kind, scope: str, name: str = "") -> _Found:
        question = (kind, scope, name)
        if question not in self._found:
            raise Pending(kind, scope, name)
        return self._found[question]

    async def settle(self, pending: Pending) -> None:
        """Look it up; from now on the answer stands for this decision."""
        if len(self._found) >= LOOKUPS_MAX:
            raise CapacityError("a decision asked for too many records")
        kind, scope, name = pending.question
        if kind == "domain":
            found = await self._tenants.fetch_domain(scope, self.now_ms)
        elif kind == "addressee":
            found = await self._tenants.fetch_addressee(scope, name, self.now_ms)
        else:
            found = await self._locations.fetch(scope, self.now_ms, self.wall_ms)
        self._found[pending.question] = found

    async def run_later(
        self, decide: Callable[[], R], refuse: Callable[[CapacityError], R], pending: Pending
    ) -> R:
        """Decide where the caches do not suffice; refuse if records cannot be had."""
        while True:
            try:
                await self.settle(pending)
            except CapacityError as error:
                return refuse(error)
            try:
                return decide()
            except Pending as another:
                pending = another.bare()


def _is_name(text: str) -> bool:
    """Whether anybody can be called so: no name has a NUL, or bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return text != "" and "\0" not in text
