"""The calls of a scripted phone: INVITE, its answers and its CANCEL (RFC 3261 §9, §13)."""

from typing import TYPE_CHECKING, Final

import msgspec

from sipfarm.testing.phone_dialogs import Dialog, sdp_of
from sipfarm.testing.phone_reliable import EarlyDialog, ReliableRinging
from sipfarm.testing.phone_transactions import TRANSACTION_MS, Client, Server, cancel_of
from sipfarm.testing.wire_text import Line, WireText

if TYPE_CHECKING:
    from sipfarm.testing.phone import Phone

PATIENCE_MS_MAX: Final = 60_000  # then a caller gives up, and a callee who never answers says so


class CallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller does. Times count from the INVITE, or from the answer; 0: never."""

    patience_ms: int = PATIENCE_MS_MAX
    talk_ms: int = 0
    reinvite_ms: int = 0
    reliable: bool = False
    """It knows reliable provisional responses, and sends an UPDATE after the first."""


class AnswerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a callee does; `status` 0: it never answers. Times from the INVITE, then the ACK."""

    ring_ms: int = 0
    answer_ms: int = 0
    status: int = 200
    talk_ms: int = 0
    reinvite_ms: int = 0
    contacts: tuple[str, ...] = ()  # of a 302
    reliable: bool = False  # rings by a reliable 183, and answers after an UPDATE (RFC 3262, 3311)


class OutgoingCall:
    """A call from its INVITE on, with one dialog for each 2xx."""

    def __init__(self, uri: str, domain: str, plan: CallPlan, call_id: str) -> None:
        self.uri = uri
        self.plan = plan
        self.call_id = call_id
        self.statuses: list[int] = []
        """Each final status once; 0 for none."""
        self.provisionals: list[int] = []
        self.cancel_status: int | None = None
        self.cancel_sent = False
        self.dialogs: dict[str, Dialog] = {}
        self.early: dict[str, EarlyDialog] = {}
        """By the callee's tag, where it rang reliably."""
        self._domain = domain
        self._impatient = False
        self._invite: Client | None = None
        self._phone: Phone | None = None

    @property
    def is_settled(self) -> bool:
        return bool(self.statuses)

    def start(self, phone: "Phone") -> None:
        self._phone = phone
        self._tag = phone.token()
        lines: list[Line] = [
            ("To", f"<{self.uri}>"),
            ("Contact", f"<{phone.contact}>"),
            ("Content-Type", "application/sdp"),
            *([("Supported", "100rel")] if self.plan.reliable else []),
        ]
        caller = f"<sip:{phone.name}@{self._domain}>;tag={self._tag}"
        self._invite = phone.request(
            "INVITE", self.uri, caller, (self.call_id, 1), lines, self._hear, sdp_of(phone)
        )
        phone.clock.call_later(self.plan.patience_ms, self._lose_patience)

    def _lose_patience(self) -> None:
        if self.statuses:
            return
        self._impatient = True
        if self._invite is not None and self._invite.state == "proceeding":
            self._cancel(self._invite)

    def _cancel(self, invite: Client) -> None:
        if self.cancel_sent or self._phone is None:
            return
        self.cancel_sent = True

        def hear(response: WireText | None) -> None:
            self.cancel_status = response.status if response else 0
            invite.give_up(TRANSACTION_MS)

        self._phone.start_client(cancel_of(invite.request), invite.destination, hear)

    def _hear(self, response: WireText | None) -> None:
        invite, phone = self._invite, self._phone
        if response is None:
            if not self.statuses:
                self.statuses.append(0)
            return
        if response.status < 200:
            self.provisionals.append(response.status)
            if response.value("RSeq") and response.to_tag not in self.early:
                assert phone is not None
                self.early[response.to_tag] = EarlyDialog(phone, response, self._tag)
            if self._impatient and invite is not None:
                self._cancel(invite)
            return
        if response.status >= 300:
            self.statuses.append(response.status)
            return
        assert phone is not None
        dialog = self.dialogs.get(response.to_tag)
        if dialog is None:
            dialog = self.dialogs[response.to_tag] = self._confirm(phone, response)
        dialog.acknowledge(response.cseq)
        if self._impatient or next(iter(self.dialogs.values())) is not dialog:
            dialog.hang_up()

    def _confirm(self, phone: "Phone", response: WireText) -> Dialog:
        first = not self.dialogs
        if first:
            self.statuses.append(response.status)
        early = self.early.get(response.to_tag)
        dialog = early.dialog if early else Dialog(phone, response, self._tag, caller=True)
        dialog.confirmed = True
        if first:
            if self.plan.talk_ms:
                phone.clock.call_later(self.plan.talk_ms, dialog.hang_up)
            if self.plan.reinvite_ms:
                phone.clock.call_later(self.plan.reinvite_ms, dialog.offer_again)
        return dialog


class IncomingCall:
    """A call from the INVITE that came on."""

    def __init__(self, phone: "Phone", server: Server, plan: AnswerPlan) -> None:
        self.phone = phone
        self.server = server
        self.plan = plan
        self.status = 0
        self.dialog: Dialog | None = None
        self._tag = phone.token()

    def merges(self, request: WireText) -> bool:
        """Whether a request is this one on another way (RFC 3261 §8.2.2.2)."""
        known = self.server.request
        same = (known.call_id, known.from_tag, known.cseq)
        return same == (request.call_id, request.from_tag, request.cseq)

    def start(self) -> None:
        plan, clock = self.plan, self.phone.clock
        if plan.reliable:
            self.dialog = Dialog(self.phone, self.server.request, self._tag, caller=False)
            ReliableRinging(self.phone, self.server, self.dialog, self._answer)
            return
        if plan.ring_ms:
            clock.call_later(plan.ring_ms, self._ring)
        clock.call_later(plan.answer_ms if plan.status else PATIENCE_MS_MAX, self._answer)

    def _ring(self) -> None:
        if not self.status:
            contact: tuple[Line, ...] = (("Contact", f"<{self.phone.contact}>"),)
            self.phone.respond(self.server, 180, self._tag, contact)

    def _answer(self) -> None:
        if self.status:
            return
        self.status = self.plan.status or 480
        if self.status >= 300:
            contacts = tuple([("Contact", f"<{uri}>") for uri in self.plan.contacts])
            self.phone.respond(self.server, self.status, self._tag, contacts)
            return
        if self.dialog is None:
            self.dialog = Dialog(self.phone, self.server.request, self._tag, caller=False)
        self.dialog.succeed(self.server)

    def cancelled(self) -> None:
        if not self.status:
            self.status = 487
            self.phone.respond(self.server, 487, self._tag)

    def confirmed(self) -> None:
        """The ACK has come."""
        dialog = self.dialog
        if dialog is None:
            return
        if self.plan.talk_ms:
            self.phone.clock.call_later(self.plan.talk_ms, dialog.hang_up)
        if self.plan.reinvite_ms:
            self.phone.clock.call_later(self.plan.reinvite_ms, dialog.offer_again)
