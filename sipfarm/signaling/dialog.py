"""Dialogs as values (RFC 3261 §12)."""

from typing import Final

import msgspec

from sipfarm.base.errors import PeerError
from sipfarm.signaling.ua import Headers, Message, Request, Response

ROUTES_MAX: Final = 32
CSEQ_MAX: Final = 2**31 - 1


class DialogError(PeerError):
    """The peer's message cannot make or change a dialog."""


class DialogId(msgspec.Struct, frozen=True):
    """What names a dialog at our end (RFC 3261 §12)."""

    call_id: str
    local_tag: str
    remote_tag: str


class Dialog(msgspec.Struct, frozen=True):
    """The state of a dialog (RFC 3261 §12.1); `remote_cseq` -1: no request came yet."""

    call_id: str
    local_tag: str
    remote_tag: str
    local_party: str  # our From (or To) value, tag included, as it stood in the first request
    remote_party: str
    local_contact: str  # our Contact URI
    remote_target: str
    route_set: tuple[str, ...]  # Route values in sending order
    local_cseq: int
    remote_cseq: int

    @property
    def dialog_id(self) -> DialogId:
        return DialogId(self.call_id, self.local_tag, self.remote_tag)


def addr_spec(value: str) -> str:
    """The URI of a name-addr or addr-spec (RFC 3261 §20.10, §25.1)."""
    quoted = False
    skip = False
    for index, character in enumerate(value):
        if skip:
            skip = False
        elif quoted and character == "\\":
            skip = True
        elif character == '"':
            quoted = not quoted
        elif character == "<" and not quoted:
            end = value.find(">", index)
            return value[index + 1 : end if end >= 0 else len(value)].strip()
    return value.partition(";")[0].strip()


def tagged(party: str, tag: str) -> str:
    """A From or To value with our tag."""
    return f"{party};tag={tag}"


def uas_dialog(invite: Request, local_tag: str, local_contact: str) -> Dialog:
    """The dialog that our answer to a request makes (RFC 3261 §12.1.1)."""
    return Dialog(
        call_id=invite.call_id,
        local_tag=local_tag,
        remote_tag=invite.from_tag,
        local_party=tagged(invite.header("To") or "", local_tag),
        remote_party=invite.header("From") or "",
        local_contact=local_contact,
        remote_target=_contact_of(invite),
        route_set=_route_set(invite.values("Record-Route")),
        local_cseq=0,
        remote_cseq=invite.cseq,
    )


def uac_dialog(request: Dialog, response: Response) -> Dialog:
    """The dialog that a response to our request makes (RFC 3261 §12.1.2).

    `request` is the half dialog the request was sent with: no remote tag, no route set of the
    peer's.
    """
    return msgspec.structs.replace(
        refresh_target(request, response),
        remote_tag=response.to_tag,
        remote_party=response.header("To") or request.remote_party,
        route_set=_route_set(list(reversed(response.values("Record-Route")))),
    )


def receive_request(dialog: Dialog, request: Request) -> Dialog:
    """Take the CSeq of a request of the peer; a lower one is out of order (RFC 3261 §12.2.2)."""
    if request.cseq < dialog.remote_cseq:
        raise DialogError("CSeq out of order", status=500, section="RFC 3261 §12.2.2")
    return msgspec.structs.replace(dialog, remote_cseq=request.cseq)


def refresh_target(dialog: Dialog, message: Message) -> Dialog:
    """Follow the Contact of a target refresh request or of its 2xx (RFC 3261 §12.2)."""
    if message.header("Contact") is None:
        return dialog
    return msgspec.structs.replace(dialog, remote_target=_contact_of(message))


def next_request(dialog: Dialog) -> Dialog:
    """The dialog once one more request of ours has its CSeq (RFC 3261 §12.2.1.1)."""
    return msgspec.structs.replace(dialog, local_cseq=dialog.local_cseq + 1)


def request_headers(dialog: Dialog, method: str, cseq: int) -> Headers:
    """The header fields that tie a request to its dialog (RFC 3261 §12.2.1.1)."""
    return (
        ("From", dialog.local_party),
        ("To", dialog.remote_party),
        ("Call-ID", dialog.call_id),
        ("CSeq", f"{cseq} {method}"),
    )


def matches(dialog: Dialog, message: Message) -> bool:
    """Whether a request of the peer belongs to this dialog (RFC 3261 §12.2.2).

    Deviation: a peer of RFC 2543 sends no From tag; it then matches the dialog that was made
    without one.
    """
    return (message.call_id, message.to_tag, message.from_tag) == (
        dialog.call_id,
        dialog.local_tag,
        dialog.remote_tag,
    )


def _contact_of(message: Message) -> str:
    contacts = message.values("Contact")
    if len(contacts) != 1:
        raise DialogError("exactly one Contact is needed", section="RFC 3261 §8.1.1.8")
    uri = addr_spec(contacts[0])
    if ":" not in uri or uri.startswith(":") or any(mark in uri for mark in " \r\n<>"):
        raise DialogError("Contact is no URI", section="RFC 3261 §20.10")
    return uri


def _route_set(record_routes: list[str]) -> tuple[str, ...]:
    if len(record_routes) > ROUTES_MAX:
        raise DialogError("too many Record-Route values")
    return tuple(record_routes)
