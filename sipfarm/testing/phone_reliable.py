"""Reliable provisional responses of a scripted phone, and UPDATE (RFC 3262, RFC 3311)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sipfarm.testing.phone_dialogs import Dialog, sdp_of
from sipfarm.testing.phone_transactions import T1_MS, TRANSACTION_MS, Server
from sipfarm.testing.wire_text import Line, WireText

if TYPE_CHECKING:
    from sipfarm.testing.phone import Phone


class EarlyDialog:
    """The caller's side: PRACK to the first reliable response, then an UPDATE."""

    def __init__(self, phone: "Phone", response: WireText, own_tag: str) -> None:
        self.dialog = Dialog(phone, response, own_tag, caller=True)
        self.pracks: list[int] = []
        """Final answers to PRACK; 0 for none."""
        self.updates: list[int] = []
        self._phone = phone
        rack: Line = ("RAck", f"{response.value('RSeq')} {response.cseq} INVITE")
        self.dialog.request("PRACK", self._acknowledged, more=(rack,))

    def _acknowledged(self, response: WireText | None) -> None:
        if response is not None and response.status < 200:
            return
        self.pracks.append(response.status if response else 0)
        self.dialog.request("UPDATE", self._updated, sdp_of(self._phone))

    def _updated(self, response: WireText | None) -> None:
        if response is None or response.status >= 200:
            self.updates.append(response.status if response else 0)


class ReliableRinging:
    """The called phone's side: 183 until its PRACK, then what follows its UPDATE."""

    def __init__(
        self, phone: "Phone", server: Server, dialog: Dialog, updated: Callable[[], None]
    ) -> None:
        self._phone = phone
        self._server = server
        self._updated = updated
        self._is_acknowledged = False
        dialog.heard = self._heard
        more: tuple[Line, ...] = (
            ("Contact", f"<{phone.contact}>"),
            ("Require", "100rel"),
            ("RSeq", "1"),
            ("Content-Type", "application/sdp"),
        )
        phone.respond(server, 183, dialog.local_tag, more, sdp_of(phone))
        self._send_again_after(T1_MS)

    def _heard(self, method: str) -> None:
        if method == "PRACK":
            self._is_acknowledged = True
        elif method == "UPDATE":
            self._updated()

    def _send_again_after(self, interval_ms: int) -> None:
        def again() -> None:
            if self._is_acknowledged or self._server.state != "proceeding":
                return
            self._server.send_response_again()
            if 2 * interval_ms < TRANSACTION_MS:
                self._send_again_after(2 * interval_ms)

        self._phone.clock.call_later(interval_ms, again)
