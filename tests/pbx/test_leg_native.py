"""A leg fed with what the native parser makes of wire bytes."""

from collections.abc import Callable

from sipfarm.media.plan import CloseMedia, OpenMedia
from sipfarm.native import Message
from sipfarm.pbx.leg import Leg
from sipfarm.signaling.ua import Confirmed, Ended, EndReason, Released, Respond, SendRequest
from sipfarm.testing.scripted_ua import Ladder

INVITE = (
    b"INVITE sip:echo@example.test SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK1\r\n"
    b"Max-Forwards: 70\r\n"
    b'f: "Alice, of <Wonderland>" <sip:alice@example.test>;tag=alice-tag\r\n'
    b"t: <sip:echo@example.test>\r\n"
    b"i: call-1\r\n"
    b"CSeq: 7 INVITE\r\n"
    b'm: "Alice, again" <sip:alice@192.0.2.7:5062;ob>;+sip.instance="<urn:x>"\r\n'
    b"Record-Route: <sip:p1.test;lr>,\r\n <sip:p2.test;lr>\r\n"
    b"Record-Route: <sip:p3.test;lr>\r\n"
    b"k: timer, replaces\r\n"
    b"x: 600;refresher=uac\r\n"
    b"c: application/sdp\r\n"
)


def whole(head: bytes, body: bytes) -> Message:
    return Message.parse(head + b"l: %d\r\n\r\n%s" % (len(body), body))


def within(method: bytes, cseq: int) -> Message:
    return Message.parse(
        b"%s sip:mark@127.0.0.1 SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK2\r\n"
        b"From: <sip:alice@example.test>;tag=alice-tag\r\n"
        b"To: <sip:echo@example.test>;tag=farm-tag\r\n"
        b"Call-ID: call-1\r\n"
        b"CSeq: %d %s\r\n"
        b"Content-Length: 0\r\n\r\n" % (method, cseq, method)
    )


def test_a_call_in_wire_bytes(idle: Callable[[], Ladder[Leg]], offer: Callable[..., bytes]) -> None:
    leg = idle().endpoint
    assert leg.receive(whole(INVITE, offer()), 0) == []
    opened, success = leg.answer(0, 3_600_000)
    assert isinstance(opened, OpenMedia)
    assert isinstance(success, Respond)
    headers = dict(success.headers)
    assert success.to_tag == "farm-tag"
    assert headers["Session-Expires"] == "600;refresher=uac"
    assert leg.ack(within(b"ACK", 7), 0) == [Confirmed()]
    bye = next(o for o in leg.hang_up(1) if isinstance(o, SendRequest))
    assert bye.uri == "sip:alice@192.0.2.7:5062;ob"
    assert bye.route == ("<sip:p1.test;lr>", "<sip:p2.test;lr>", "<sip:p3.test;lr>")


def test_the_callers_bye_in_wire_bytes(
    idle: Callable[[], Ladder[Leg]], offer: Callable[..., bytes]
) -> None:
    leg = idle().endpoint
    leg.receive(whole(INVITE, offer()), 0)
    leg.answer(0, 3_600_000)
    leg.ack(within(b"ACK", 7), 0)
    outputs = leg.receive(within(b"BYE", 8), 1)
    assert [type(o) for o in outputs] == [Respond, CloseMedia, Ended, Released]
    assert outputs[2] == Ended(EndReason.BYE_RECEIVED)
