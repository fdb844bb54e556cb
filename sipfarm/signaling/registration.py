"""The REGISTER transaction user: domain, digest, authorization, registrar (RFC 3261 §10.3)."""

from collections.abc import Awaitable

from sipfarm.base.records import Account, Application, RegisterOutcome, RegisterUpdate
from sipfarm.native import Message, OwnAddresses, read_registrant
from sipfarm.signaling.authentication import TrustedSources, authenticate
from sipfarm.signaling.digest import Digest, Verdict
from sipfarm.signaling.location import Locations
from sipfarm.signaling.lookups import Lookups, Pending
from sipfarm.signaling.registrar import SUPPORTED, Registrar
from sipfarm.signaling.reply import Reply, unavailable, unsupported
from sipfarm.signaling.tenants import Tenants

_MALFORMED, _STALE = Verdict.MALFORMED, Verdict.STALE


class Registration:
    """Takes a REGISTER up to the store's operation, and its outcome to the answer."""

    def __init__(
        self,
        registrar: Registrar,
        digest: Digest,
        trusted: TrustedSources,
        records: tuple[Tenants, Locations],
        own: OwnAddresses,
    ) -> None:
        self._registrar = registrar
        self._digest = digest
        self._trusted = trusted
        self._tenants, self._locations = records
        self._own = own

    def receive(
        self, request: Message, flow_mark: str, times: tuple[int, int]
    ) -> RegisterUpdate | Reply | Awaitable[RegisterUpdate | Reply]:
        """What the store is to do, or the answer; `times` is now_ms and wall_ms."""
        lookups = Lookups(self._tenants, self._locations, self._own, times)
        try:
            return self._decide(request, flow_mark, lookups)
        except Pending as pending:
            return lookups.run_later(
                lambda: self._decide(request, flow_mark, lookups),
                lambda error: unavailable(error.retry_after_s),
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

    def _decide(self, request: Message, flow_mark: str, lookups: Lookups) -> RegisterUpdate | Reply:
        found = read_registrant(request, self._own)
        if isinstance(found, str):
            return Reply(400, found)
        is_sip, user, host, registrar_host, registrar_is_farm, required = found
        domain = lookups.domain(host)
        is_elsewhere = registrar_host != host and not registrar_is_farm
        if is_elsewhere and lookups.domain(registrar_host) != domain:
            return Reply(403, "Not A Domain Of This Registrar")
        if required:
            unknown = [tag for tag in required if tag not in SUPPORTED]
            if unknown:
                return unsupported(unknown)  # RFC 3261 §10.3 step 2
        if domain is None or not is_sip:
            return Reply(404)
        registrant: Account | None = None
        if not self._trusted.include(request.source[0]):
            identity = authenticate(request, domain.name, self._digest, lookups, proxy=False)
            if identity.verdict is _MALFORMED:
                return Reply(400, "Malformed Authorization")
            registrant = identity.account
            if registrant is None:
                return self._digest.challenge(
                    domain.name,
                    request.source,
                    lookups.wall_ms,
                    proxy=False,
                    stale=identity.verdict is _STALE,
                )
        if registrant is not None and user == registrant.name:
            return self._registrar.register(request, aor_of(registrant), flow_mark, lookups)
        account = lookups.addressee(domain.name, user)
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
