"""The REGISTER transaction user: domain, digest, authorization, registrar (RFC 3261 §10.3)."""

from collections.abc import Awaitable
from typing import Final

from sipfarm.base.records import Account, Application, RegisterOutcome, RegisterUpdate
from sipfarm.native import (
    Engine,
    ExpressLane,
    Message,
    Output,
    OwnAddresses,
    RegisterScreen,
    read_registrant,
)
from sipfarm.signaling.authentication import TrustedSources, authenticate
from sipfarm.signaling.digest import Digest, Verdict
from sipfarm.signaling.location import Locations
from sipfarm.signaling.lookups import Lookups, Pending
from sipfarm.signaling.registrar import SUPPORTED, Registrar
from sipfarm.signaling.reply import Reply, unavailable, unsupported
from sipfarm.signaling.standing import Judged, Standing
from sipfarm.signaling.tenants import Tenants

SCREENED_MS: Final = 1_000  # what a change of a domain may need to be seen

_MALFORMED, _STALE, _REFUSED = Verdict.MALFORMED, Verdict.STALE, Verdict.REFUSED
_TRUSTED, _PROVEN, _UNPROVEN = Standing.TRUSTED, Standing.PROVEN, Standing.UNPROVEN
Enrolment = Judged[RegisterUpdate | Reply]


class Registration:
    """Takes a REGISTER up to the store's operation, and its outcome to the answer."""

    def __init__(
        self,
        registrar: Registrar,
        digest: Digest,
        trusted: TrustedSources,
        records: tuple[Tenants, Locations],
        own: OwnAddresses,
        lane: ExpressLane | None = None,
    ) -> None:
        """`lane` takes up REGISTERs of accounts that have registered here before."""
        self._registrar = registrar
        self._digest = digest
        self._trusted = trusted
        self._tenants, self._locations = records
        self._own = own
        self._screen = RegisterScreen(digest.guard, own)
        self._lane = lane

    def screen(self, engine: Engine, out: Output, now_ms: int, wall_ms: int) -> None:
        """Take up, without a decision for each, the REGISTERs whose like was decided on.

        A domain's are challenged for a moment once it was decided for one; those of an account are
        done as long as what is known of it is good. Not where some sources are trusted.
        """
        self._screen.run(engine, out, now_ms, wall_ms)
        if self._lane is not None:
            self._lane.run(engine, out, now_ms, wall_ms, self._tenants.age)

    def receive(
        self, request: Message, flow_mark: str, times: tuple[int, int]
    ) -> Enrolment | Awaitable[Enrolment]:
        """What the store is to do, or the answer; `times` is now_ms and wall_ms."""
        lookups = Lookups(self._tenants, self._locations, self._own, times)
        try:
            return self._decide(request, flow_mark, lookups)
        except Pending as pending:
            return lookups.run_later(
                lambda: self._decide(request, flow_mark, lookups),
                lambda error: Judged(unavailable(error.retry_after_s), _UNPROVEN),
                pending.bare(),
            )

    def answer(
        self,
        request: Message,
        update: RegisterUpdate,
        outcome: RegisterOutcome,
        times: tuple[int, int],
    ) -> Reply:
        """The answer once the store has done it; the bindings are known here from now on."""
        now_ms, wall_ms = times
        self._locations.put(update.aor, outcome.bindings, now_ms)
        return self._registrar.answer(request, update, outcome, wall_ms)

    def _decide(self, request: Message, flow_mark: str, lookups: Lookups) -> Enrolment:
        found = read_registrant(request, self._own)
        if isinstance(found, str):
            return Judged(Reply(400, found), _UNPROVEN)
        is_sip, user, host, registrar_host, registrar_is_farm, required = found
        is_trusted = self._trusted.include(request.source[0])
        standing = _TRUSTED if is_trusted else Standing.FOREIGN
        domain = lookups.domain(host)
        is_elsewhere = registrar_host != host and not registrar_is_farm
        if is_elsewhere and lookups.domain(registrar_host) != domain:
            return Judged(Reply(403, "Not A Domain Of This Registrar"), standing)
        if required:
            unknown = [tag for tag in required if tag not in SUPPORTED]
            if unknown:
                return Judged(unsupported(unknown), _UNPROVEN)  # RFC 3261 §10.3 step 2
        if domain is None or not is_sip:
            return Judged(Reply(404), standing)
        if is_trusted:
            return Judged(
                self._enrol(request, (domain.name, user), None, flow_mark, lookups), _TRUSTED
            )
        identity = authenticate(request, domain.name, self._digest, lookups, proxy=False)
        if identity.verdict is _MALFORMED:
            return Judged(Reply(400, "Malformed Authorization"), _UNPROVEN)
        registrant = identity.account
        if registrant is None:
            if self._trusted.is_empty:
                self._screen.admit(domain.name, lookups.now_ms + SCREENED_MS)
            challenge = self._digest.challenge(
                domain.name,
                request.source,
                lookups.wall_ms,
                proxy=False,
                stale=identity.verdict is _STALE,
            )
            refused = identity.verdict is _REFUSED
            return Judged(challenge, Standing.REFUSED if refused else _UNPROVEN)
        if user == registrant.name:
            update = self._registrar.register(request, aor_of(registrant), flow_mark, lookups)
            if isinstance(update, RegisterUpdate):
                self._admit(request, registrant, lookups.now_ms)
            return Judged(update, _PROVEN)
        return Judged(
            self._enrol(request, (domain.name, user), registrant, flow_mark, lookups), _PROVEN
        )

    def _admit(self, request: Message, account: Account, now_ms: int) -> None:
        """Let the account's next REGISTERs take the express lane. What is known of it by another
        name of its may be older than what is known by its own.
        """
        if self._lane is None or not self._trusted.is_empty:
            return
        until_ms = self._tenants.until_ms(account.domain, account.name, now_ms)
        known = self._tenants.peek_addressee(account.domain, account.name, now_ms)
        if until_ms and known == account:
            age = self._tenants.age
            self._lane.admit(request, account.ha1_md5, account.ha1_sha256, until_ms, age)

    def _enrol(
        self,
        request: Message,
        name: tuple[str, str],
        registrant: Account | None,
        flow_mark: str,
        lookups: Lookups,
    ) -> RegisterUpdate | Reply:
        """Bind an address-of-record that is another name of an account; None: trusted."""
        account = lookups.addressee(*name)
        if account is None or isinstance(account, Application):
            return Reply(404)
        if registrant is not None and registrant.name != account.name:
            return Reply(403, "Not Your Address-Of-Record")
        return self._registrar.register(request, aor_of(account), flow_mark, lookups)


def user_of(aor: str) -> str:
    """The user part of a canonical address-of-record."""
    return aor[4:].rpartition("@")[0]


def aor_of(account: Account) -> str:
    """The address-of-record that an account's bindings stand under."""
    return f"sip:{account.name}@{account.domain}"
