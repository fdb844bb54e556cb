"""The registrar: what a REGISTER asks for, and how it is answered (RFC 3261 §10.3).

The update itself is one atomic operation of the store; it stands between `register` and `answer`.
"""

from typing import Final

import msgspec

from sipfarm.base.limits import (
    BINDINGS_PER_AOR_MAX,
    CONTACTS_PER_REGISTER_MAX,
    PATH_PER_BINDING_MAX,
)
from sipfarm.base.records import Binding, RegisterOutcome, RegisterUpdate, Removal
from sipfarm.native import (
    BindingWriter,
    DigestGuard,
    ExpressLane,
    Message,
    OwnAddresses,
    read_contacts,
)
from sipfarm.signaling.headers import Q_MAX, format_date, format_q, quoted
from sipfarm.signaling.lookups import Lookups
from sipfarm.signaling.reply import Reply

SUPPORTED: Final = ("path", "outbound")
REG_ID_MAX: Final = 2**31 - 1  # RFC 5626 §4.2
USER_AGENT_CHARS_MAX: Final = 128
INSTANCE_CHARS_MAX: Final = 256
EXPRESS_ACCOUNTS_MAX: Final = 65_536  # as many as `CacheSettings` keeps of
EXPRESS_WAITING_MAX: Final = 16_384  # for the store; more are decided on one by one


ContactFacts = tuple[int, str, str, str, bool, int, int, str, int, bool]
"""One contact as `read_contacts` tells it; register_request.hpp says what its facts are."""


class RegistrarSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the registrar grants."""

    expires_min_s: int = 60
    expires_max_s: int = 7_200
    expires_default_s: int = 3_600
    bindings_max: int = 10  # of one address-of-record
    flow_timer_s: int = 120  # how often a phone should keep an outbound flow alive (RFC 5626 §4.4)
    service_route: tuple[
        str, ...
    ] = ()  # name-addrs that phones send their requests through (RFC 3608)

    def __post_init__(self) -> None:
        if not 0 < self.expires_min_s <= self.expires_default_s <= self.expires_max_s:
            raise ValueError(
                "expiry must be 0 < expires_min_s <= expires_default_s <= expires_max_s"
            )
        if self.expires_min_s > 3_600:
            raise ValueError("expires_min_s must be at most 3600 (RFC 3261 §10.3 step 7)")
        if not 0 < self.bindings_max <= BINDINGS_PER_AOR_MAX:
            raise ValueError(f"bindings_max must be in 1..{BINDINGS_PER_AOR_MAX}")


# How `read_contacts` tells a contact's fitness.
_FIT, _MALFORMED, _NO_SIP_URI, _NO_REQUEST_URI = range(4)
_UNFIT: Final = {
    _MALFORMED: Reply(400, "Malformed Contact"),
    _NO_SIP_URI: Reply(403, "Contact Is No SIP URI"),
    _NO_REQUEST_URI: Reply(400, "Contact Fits No Request-URI"),  # RFC 3261 §19.1.5: no headers
}


class _Frame(msgspec.Struct, frozen=True):
    """What all contacts of one REGISTER share."""

    aor: str
    call_id: str
    cseq: int
    expires_s: int
    path: tuple[str, ...]
    edge_does_outbound: bool
    supports_outbound: bool
    is_direct: bool
    source: str  # "udp:192.0.2.1:5060"
    flow_mark: str
    user_agent: str
    lookups: Lookups


class Registrar:
    """Steps 6 to 8 of RFC 3261 §10.3; who may register what was settled before."""

    def __init__(self, settings: RegistrarSettings, own: OwnAddresses) -> None:
        self._settings = settings
        self._own = own
        self._fixed_headers = [
            *[("Service-Route", hop) for hop in settings.service_route],
            ("Supported", ", ".join(SUPPORTED)),
        ]
        self._outbound_headers = (
            ("Require", "outbound"),
            ("Flow-Timer", str(settings.flow_timer_s)),
        )
        self._date_s = -1  # the second that `_date` is the text of
        self._date = ""

    def express_lane(
        self, guard: DigestGuard, writer: BindingWriter, *, bound_to_receiver: bool
    ) -> ExpressLane:
        """A lane that grants and answers as this registrar does."""
        settings = self._settings
        return ExpressLane(
            guard,
            writer,
            self._own,
            expires_min_s=settings.expires_min_s,
            expires_max_s=settings.expires_max_s,
            expires_default_s=settings.expires_default_s,
            bindings_max=settings.bindings_max,
            headers=self._fixed_headers,
            bound_to_receiver=bound_to_receiver,
            accounts_max=EXPRESS_ACCOUNTS_MAX,
            waiting_max=EXPRESS_WAITING_MAX,
        )

    def register(
        self, request: Message, aor: str, flow_mark: str, lookups: Lookups
    ) -> RegisterUpdate | Reply:
        """The update that a REGISTER asks for, or why it is refused.

        `flow_mark` names the flow it came over at this member; "" where there is none to name.
        """
        (
            count,
            has_wildcard,
            expires_s,
            path,
            path_is_well_formed,
            edge_does_outbound,
            supports_outbound,
            is_direct,
            source,
            user_agent,
            found,
        ) = read_contacts(request, self._own, CONTACTS_PER_REGISTER_MAX)
        call_id, cseq = request.call_id, request.cseq
        if not count:
            return RegisterUpdate(aor, call_id, cseq)
        if count > CONTACTS_PER_REGISTER_MAX:
            return Reply(403, "Too Many Contacts")
        if has_wildcard:
            if count > 1 or expires_s != 0:
                return Reply(400, "Contact * Needs Expires 0 And No Other Contact")
            return RegisterUpdate(aor, call_id, cseq, wildcard=True)
        if len(path) > PATH_PER_BINDING_MAX:
            return Reply(400, "Path Too Long")
        if not path_is_well_formed:
            return Reply(400, "Malformed Path")
        frame = _Frame(
            aor,
            call_id,
            cseq,
            self._settings.expires_default_s if expires_s < 0 else expires_s,
            path,
            edge_does_outbound,
            supports_outbound,
            is_direct,
            source,
            flow_mark,
            user_agent[:USER_AGENT_CHARS_MAX],
            lookups,
        )
        contacts: list[Binding] = []
        removals: list[Removal] = []
        for facts in found:
            one = self._contact(facts, frame)
            if isinstance(one, Binding):
                contacts.append(one)
            elif isinstance(one, Removal):
                removals.append(one)
            else:
                return one
        if count > 1:
            if len({one.contact_key for one in (*contacts, *removals)}) < count:
                return Reply(400, "Contact Given Twice")
            if len(contacts) > 1 and any(contact.reg_id for contact in contacts):
                return Reply(400, "Only One Contact With reg-id")  # RFC 5626 §6
        bindings_max = self._settings.bindings_max
        return RegisterUpdate(
            aor, call_id, cseq, tuple(contacts), tuple(removals), False, bindings_max
        )

    def _contact(self, facts: ContactFacts, frame: _Frame) -> Binding | Removal | Reply:
        fitness, uri, key, host, is_farm, given_s, q, instance_id, reg_id, is_believed = facts
        if fitness != _FIT:
            return _UNFIT[fitness]
        if is_farm or (host and frame.lookups.domain(host) is not None):
            return Reply(403, "Contact Leads Back")
        if instance_id:
            instance_id = instance_id[:INSTANCE_CHARS_MAX]
        if reg_id:
            outbound = _outbound(reg_id, instance_id, frame)
            if isinstance(outbound, Reply):
                return outbound
            reg_id = outbound
        expires_s = frame.expires_s if given_s < 0 else given_s
        if expires_s == 0:
            return Removal(key, instance_id, reg_id)
        settings = self._settings
        if expires_s < settings.expires_min_s:
            return Reply(423, "", (("Min-Expires", str(settings.expires_min_s)),))
        # Where the phone is reached: over a stream that is the connection, over UDP its Contact
        # where that can be believed; behind another proxy the Path tells (RFC 5626 §3.1).
        flow = frame.source if frame.is_direct and (reg_id or not is_believed) else ""
        return Binding(
            frame.aor,
            uri,
            key,
            frame.call_id,
            frame.cseq,
            frame.lookups.wall_ms + min(expires_s, settings.expires_max_s) * 1_000,
            instance_id,
            reg_id,
            frame.path,
            q,
            flow,
            frame.flow_mark if flow else "",
            frame.user_agent,
        )

    def answer(
        self,
        request: Message,
        update: RegisterUpdate,
        outcome: RegisterOutcome,
        wall_ms: int,
    ) -> Reply:
        """The answer to what became of an update (RFC 3261 §10.3 step 8)."""
        if outcome.status == "out_of_order":
            return Reply(500, "Out Of Order")
        if outcome.status == "too_many":
            return Reply(403, "Too Many Bindings")
        headers = [
            ("Contact", _format_contact(binding, wall_ms))
            for binding in outcome.bindings
            if binding.expires_at_wall_ms > wall_ms
        ]
        path = request.values("Path")
        if path:
            headers += [("Path", hop) for hop in path[:PATH_PER_BINDING_MAX]]
        headers += self._fixed_headers
        for contact in update.contacts:
            if contact.reg_id:
                headers += self._outbound_headers
                break
        if wall_ms // 1_000 != self._date_s:
            self._date_s, self._date = wall_ms // 1_000, format_date(wall_ms)
        headers.append(("Date", self._date))
        return Reply(200, "", tuple(headers))


def _outbound(reg_id: int, instance_id: str, frame: _Frame) -> int | Reply:
    """The reg-id; 0 where it stands without its conditions (RFC 5626 §6)."""
    if not instance_id or not frame.supports_outbound:
        return 0
    if not frame.is_direct and not frame.edge_does_outbound:
        return Reply(439)  # the first hop does not do outbound
    return reg_id if reg_id <= REG_ID_MAX else 0


def _format_contact(binding: Binding, wall_ms: int) -> str:
    expires_s = -(-(binding.expires_at_wall_ms - wall_ms) // 1_000)
    q = f";q={format_q(binding.q)}" if binding.q != Q_MAX else ""
    instance = f";+sip.instance={quoted(binding.instance_id)}" if binding.instance_id else ""
    reg_id = f";reg-id={binding.reg_id}" if binding.reg_id else ""
    return f"<{binding.contact}>;expires={expires_s}{q}{instance}{reg_id}"
