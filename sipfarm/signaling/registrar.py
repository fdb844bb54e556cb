"""The registrar: what a REGISTER asks for, and how it is answered (RFC 3261 §10.3).

The update itself is one atomic operation of the store; it stands between `register` and `answer`.
"""

from typing import Final

import msgspec

from sipfarm.base.limits import (
    BINDINGS_PER_AOR_MAX,
    CONTACTS_PER_REGISTER_MAX,
    PATH_PER_BINDING_MAX,
    URI_BYTES_MAX,
)
from sipfarm.base.records import Binding, RegisterOutcome, RegisterUpdate, Removal
from sipfarm.native import Message
from sipfarm.signaling.headers import (
    Q_MAX,
    contact_key,
    format_date,
    format_q,
    option_tags,
    parse_delta_seconds,
    parse_name_addr,
    parse_q,
    quoted,
    sent_by,
)
from sipfarm.signaling.lookups import Lookups
from sipfarm.signaling.message import (
    DEFAULT_PORT,
    Syntax,
    UriView,
    is_address,
)
from sipfarm.signaling.reply import Reply, unsupported

SUPPORTED: Final = ("path", "outbound")
_SUPPORTED_HEADER: Final = ("Supported", ", ".join(SUPPORTED))
MALFORMED_EXPIRES_S: Final = 3_600  # RFC 3261 §20.10
REG_ID_MAX: Final = 2**31 - 1  # RFC 5626 §4.2
USER_AGENT_CHARS_MAX: Final = 128
INSTANCE_CHARS_MAX: Final = 256


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


class _Frame(msgspec.Struct, frozen=True):
    """What all contacts of one REGISTER share."""

    request: Message
    aor: str
    path: tuple[str, ...]
    vias: list[str]
    flow_mark: str
    expires_s: int
    lookups: Lookups

    @property
    def is_direct(self) -> bool:
        """Whether no proxy stands in between: the source is the phone's own, or its NAT's."""
        return len(self.vias) <= 1 and not self.path


class Registrar:
    """Steps 6 to 8 of RFC 3261 §10.3; who may register what was settled before."""

    def __init__(self, settings: RegistrarSettings, syntax: Syntax) -> None:
        self._settings = settings
        self._syntax = syntax
        self._date_s = -1  # the second that `_date` is the text of
        self._date = ""

    def register(
        self, request: Message, aor: str, flow_mark: str, lookups: Lookups
    ) -> RegisterUpdate | Reply:
        """The update that a REGISTER asks for, or why it is refused.

        `flow_mark` names the flow it came over at this member; "" where there is none to name.
        """
        values = request.values("Contact")
        if not values:
            return RegisterUpdate(aor, request.call_id, request.cseq)
        if len(values) > CONTACTS_PER_REGISTER_MAX:
            return Reply(403, "Too Many Contacts")
        expires = request.header("Expires")
        expires_s = None if expires is None else parse_delta_seconds(expires)
        if "*" in values:
            if len(values) > 1 or expires_s != 0:
                return Reply(400, "Contact * Needs Expires 0 And No Other Contact")
            return RegisterUpdate(aor, request.call_id, request.cseq, wildcard=True)
        path = tuple(request.values("Path"))
        refusal = self._unfit_path(path) if path else None
        if refusal is not None:
            return refusal
        frame = _Frame(
            request,
            aor,
            path,
            request.values("Via"),
            flow_mark,
            self._settings.expires_default_s if expires_s is None else expires_s,
            lookups,
        )
        contacts: list[Binding] = []
        removals: list[Removal] = []
        for value in values:
            one = self._contact(value, frame)
            if isinstance(one, Reply):
                return one
            if isinstance(one, Binding):
                contacts.append(one)
            else:
                removals.append(one)
        if len(values) > 1:
            if len({one.contact_key for one in (*contacts, *removals)}) < len(values):
                return Reply(400, "Contact Given Twice")
            if len(contacts) > 1 and any(contact.reg_id for contact in contacts):
                return Reply(400, "Only One Contact With reg-id")  # RFC 5626 §6
        return RegisterUpdate(
            aor,
            request.call_id,
            request.cseq,
            tuple(contacts),
            tuple(removals),
            max_bindings=self._settings.bindings_max,
        )

    def _unfit_path(self, path: tuple[str, ...]) -> Reply | None:
        if len(path) > PATH_PER_BINDING_MAX:
            return Reply(400, "Path Too Long")
        if any(parse_name_addr(self._syntax, hop) is None for hop in path):
            return Reply(400, "Malformed Path")
        return None

    def _reg_id(self, text: str, frame: _Frame) -> int | Reply:
        """The reg-id; 0 where it stands without its conditions (RFC 5626 §6)."""
        reg_id = parse_delta_seconds(text) or 0
        if not reg_id or "outbound" not in option_tags(frame.request, "Supported"):
            return 0
        if frame.is_direct:
            return reg_id if reg_id <= REG_ID_MAX else 0
        edge = parse_name_addr(self._syntax, frame.path[-1]) if frame.path else None
        if edge is None or "ob" not in edge.uri.params:
            return Reply(439)  # the first hop does not do outbound
        return reg_id if reg_id <= REG_ID_MAX else 0

    def _contact(self, value: str, frame: _Frame) -> Binding | Removal | Reply:
        contact = parse_name_addr(self._syntax, value)
        if contact is None:
            return Reply(400, "Malformed Contact")
        uri, params = contact.uri, contact.params
        refusal = _unfit(uri, frame.lookups)
        if refusal is not None:
            return refusal
        instance_id = params.get("+sip.instance", "")[:INSTANCE_CHARS_MAX]
        reg_id = self._reg_id(params["reg-id"], frame) if "reg-id" in params and instance_id else 0
        if isinstance(reg_id, Reply):
            return reg_id
        expires_s = frame.expires_s
        if "expires" in params:
            given_s = parse_delta_seconds(params["expires"])
            expires_s = MALFORMED_EXPIRES_S if given_s is None else given_s
        key = contact_key(uri)
        if expires_s == 0:
            return Removal(key, instance_id, reg_id)
        settings = self._settings
        if expires_s < settings.expires_min_s:
            return Reply(423, "", (("Min-Expires", str(settings.expires_min_s)),))
        flow = _flow(uri, frame, outbound=reg_id > 0)
        q = parse_q(params["q"]) if "q" in params else Q_MAX
        request = frame.request
        return Binding(
            frame.aor,
            uri.text,
            key,
            request.call_id,
            request.cseq,
            frame.lookups.wall_ms + min(expires_s, settings.expires_max_s) * 1_000,
            instance_id,
            reg_id,
            frame.path,
            Q_MAX if q is None else q,
            flow,
            frame.flow_mark if flow else "",
            (request.header("User-Agent") or "")[:USER_AGENT_CHARS_MAX],
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
        headers += [("Path", hop) for hop in request.values("Path")[:PATH_PER_BINDING_MAX]]
        headers += [("Service-Route", hop) for hop in self._settings.service_route]
        headers.append(_SUPPORTED_HEADER)
        if [contact for contact in update.contacts if contact.reg_id]:
            headers.append(("Require", "outbound"))
            headers.append(("Flow-Timer", str(self._settings.flow_timer_s)))
        if wall_ms // 1_000 != self._date_s:
            self._date_s, self._date = wall_ms // 1_000, format_date(wall_ms)
        headers.append(("Date", self._date))
        return Reply(200, "", tuple(headers))


def required_extensions(request: Message) -> Reply | None:
    """420 where a REGISTER needs what we do not know (RFC 3261 §10.3 step 2)."""
    unknown = [tag for tag in option_tags(request, "Require") if tag not in SUPPORTED]
    return unsupported(unknown) if unknown else None


def _unfit(uri: UriView, lookups: Lookups) -> Reply | None:
    """Why a contact is refused: no SIP, unfit as Request-URI, or leading back to the farm."""
    if uri.scheme not in ("sip", "sips"):
        return Reply(403, "Contact Is No SIP URI")
    text = uri.text
    if len(text) > URI_BYTES_MAX or ("?" in text and "?" in text.rpartition("@")[2]):
        return Reply(400, "Contact Fits No Request-URI")  # RFC 3261 §19.1.5: no headers
    if not uri.host.endswith(".invalid") and lookups.leads_here(uri):  # .invalid: RFC 7118 §5
        return Reply(403, "Contact Leads Back")
    return None


def _flow(uri: UriView, frame: _Frame, *, outbound: bool) -> str:
    """Where the phone is reached; "" where its Contact can be believed (RFC 5626 §3.1).

    Over a stream that is the connection. Over UDP a Contact that is not the source is believed only
    where nothing speaks of a NAT: the Via is the source, and the Contact is an address. Behind
    another proxy the Path tells.
    """
    if not frame.is_direct:
        return ""
    transport = frame.request.transport
    host, port = frame.request.source
    if ":" in host and host[0] != "[":
        host = f"[{host}]"
    if transport == "udp" and not outbound:
        if uri.host == host and (uri.port or DEFAULT_PORT) == port:
            return ""
        sender = sent_by(frame.vias[0]) if frame.vias else None
        via_is_source = sender is not None and sender in ((host, port), (host, _implied(port)))
        if via_is_source and is_address(uri.host) and _as_public(uri, host):
            return ""
    return f"{transport}:{host}:{port}"


def _implied(port: int) -> int:
    """How a sent-by may have a port: 0 for the default one."""
    return 0 if port == DEFAULT_PORT else port


def _as_public(uri: UriView, source: str) -> bool:
    return uri.host == source or not _is_private(uri.host) or _is_private(source)


def _is_private(host: str) -> bool:
    """RFC 1918, RFC 6598 and link-local addresses: not reached from elsewhere."""
    if host.startswith(("10.", "192.168.", "169.254.", "[fe80:", "[fc", "[fd")):
        return True
    first, _, rest = host.partition(".")
    second = rest.partition(".")[0]
    if first not in ("100", "172") or not (second.isascii() and second.isdigit()):
        return False
    low, high = (64, 127) if first == "100" else (16, 31)
    return low <= int(second[:3]) <= high


def _format_contact(binding: Binding, wall_ms: int) -> str:
    expires_s = -(-(binding.expires_at_wall_ms - wall_ms) // 1_000)
    q = f";q={format_q(binding.q)}" if binding.q != Q_MAX else ""
    instance = f";+sip.instance={quoted(binding.instance_id)}" if binding.instance_id else ""
    reg_id = f";reg-id={binding.reg_id}" if binding.reg_id else ""
    return f"<{binding.contact}>;expires={expires_s}{q}{instance}{reg_id}"
