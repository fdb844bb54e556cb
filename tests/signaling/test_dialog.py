"""Dialogs (RFC 3261 §12)."""

import msgspec
import pytest

from sipfarm.signaling.dialog import (
    DialogError,
    addr_spec,
    matches,
    next_request,
    receive_request,
    refresh_target,
    request_headers,
    uac_dialog,
    uas_dialog,
)
from sipfarm.signaling.ua import SendRequest
from sipfarm.testing.scripted_ua import ScriptedPeer

P1 = "<sip:p1.example.test;lr>"
P2 = "<sip:p2.example.test;lr>"
HALF = (("From", "<sip:x@y>;tag=f"), ("To", "<sip:b@y>"), ("Call-ID", "c"), ("CSeq", "1 INVITE"))


@pytest.mark.parametrize(
    ("value", "uri"),
    [
        ("<sip:a@b>;tag=1", "sip:a@b"),
        ("sip:a@b;tag=1", "sip:a@b"),
        ('"A <x> \\" y" <sip:a@b;lr>;tag=1', "sip:a@b;lr"),
        ("Alice <sips:a@[::1]:5061>", "sips:a@[::1]:5061"),
        ("<sip:a@b", "sip:a@b"),
        ("", ""),
    ],
)
def test_addr_spec_is_what_stands_in_the_brackets(value: str, uri: str) -> None:
    assert addr_spec(value) == uri


def test_uas_keeps_the_order_of_record_route_and_our_tag() -> None:
    peer = ScriptedPeer()
    invite = peer.request("INVITE", headers=(("Record-Route", f"{P1}, {P2}"),))
    dialog = uas_dialog(invite, "farm-tag", "sip:mark@127.0.0.1")
    assert dialog.route_set == (P1, P2)
    assert dialog.local_party == "<sip:echo@example.test>;tag=farm-tag"
    assert dialog.remote_target == peer.contact
    assert (dialog.remote_cseq, dialog.local_cseq) == (1, 0)


def test_uac_reverses_record_route() -> None:
    peer = ScriptedPeer()
    sent = SendRequest(1, "INVITE", "sip:bob@example.test", (), HALF, b"", None)
    response = peer.response(sent, 200, headers=(("Record-Route", f"{P1}, {P2}"),))
    half = uas_dialog(peer.request("INVITE"), "farm-tag", "sip:mark@127.0.0.1")
    dialog = uac_dialog(half, response)
    assert dialog.route_set == (P2, P1)
    assert dialog.remote_tag == peer.tag
    assert dialog.remote_party.endswith(f";tag={peer.tag}")


def test_requests_of_ours_count_up() -> None:
    dialog = uas_dialog(ScriptedPeer().request("INVITE"), "t", "sip:m@h")
    dialog = next_request(next_request(dialog))
    assert dict(request_headers(dialog, "BYE", dialog.local_cseq))["CSeq"] == "2 BYE"


def test_a_lower_cseq_is_out_of_order_and_a_gap_is_not() -> None:
    peer = ScriptedPeer()
    dialog = uas_dialog(peer.request("INVITE", cseq=10), "t", "sip:m@h")
    dialog = receive_request(dialog, peer.request("INFO", cseq=30))
    assert dialog.remote_cseq == 30
    with pytest.raises(DialogError) as error:
        receive_request(dialog, peer.request("INFO", cseq=29))
    assert error.value.status == 500


def test_a_target_refresh_follows_the_contact() -> None:
    peer = ScriptedPeer()
    dialog = uas_dialog(peer.request("INVITE"), "t", "sip:m@h")
    moved = refresh_target(dialog, peer.request("UPDATE", contact="sip:alice@192.0.2.99"))
    assert moved.remote_target == "sip:alice@192.0.2.99"
    without = msgspec.structs.replace(peer.request("UPDATE"), lines=())
    assert refresh_target(moved, without) == moved


@pytest.mark.parametrize("contact", ["*", "alice", "sip:a@b>,<sip:c@d", "sip:a b"])
def test_a_contact_that_is_no_single_uri_is_refused(contact: str) -> None:
    with pytest.raises(DialogError):
        uas_dialog(ScriptedPeer().request("INVITE", contact=contact), "t", "sip:m@h")


def test_endless_record_route_is_refused() -> None:
    routes = (("Record-Route", ", ".join([P1] * 40)),)
    with pytest.raises(DialogError):
        uas_dialog(ScriptedPeer().request("INVITE", headers=routes), "t", "sip:m@h")


def test_a_dialog_matches_by_call_id_and_both_tags() -> None:
    peer = ScriptedPeer()
    dialog = uas_dialog(peer.request("INVITE"), "farm-tag", "sip:m@h")
    peer.farm_tag = "farm-tag"
    assert matches(dialog, peer.request("BYE"))
    for change in ({"call_id": "x"}, {"from_tag": "x"}, {"to_tag": "x"}):
        assert not matches(dialog, msgspec.structs.replace(peer.request("BYE"), **change))
