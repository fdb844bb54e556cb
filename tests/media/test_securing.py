"""SRTP in offer and answer (RFC 4568 §5, §7)."""

import pytest

from sipfarm.base.secrets import Secret
from sipfarm.media.offer_answer import Negotiated, Party, answer, complete, offer
from sipfarm.media.plan import LocalMedia
from sipfarm.media.sdes import Crypto, cryptos_of, format_crypto, made, without_keys
from sipfarm.media.sdp import Attribute, Media, SdpError, SessionDescription, format_sdp, parse_sdp
from sipfarm.media.securing import (
    ROCS_TRIED,
    ROCS_TRIED_BY_HEIRS,
    Security,
    SrtpPolicy,
    Terms,
    renewed_description,
)

LOCAL = LocalMedia("127.0.0.1", 20_000, 20_001)
CM_80, CM_32, GCM = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM"
PEER = Secret("peer")


def party(policy: SrtpPolicy, seed: str = "ours") -> Party:
    return Party(LOCAL, session_id=4711, srtp=Terms(policy, Secret(seed)))


def offered(protocol: str, *cryptos: Crypto) -> SessionDescription:
    lines = [f"a=crypto:{format_crypto(crypto)}" for crypto in cryptos]
    head = ("v=0", "o=alice 1 1 IN IP4 192.0.2.7", "s=-", "c=IN IP4 192.0.2.7", "t=0 0")
    return parse_sdp("\r\n".join((*head, f"m=audio 4000 {protocol} 0", *lines, "")).encode())


def theirs(tag: int = 1, suite: str = CM_80, version: int = 1) -> Crypto:
    return made(tag, suite, PEER, version)


def security_of(agreed: Negotiated) -> Security:
    assert agreed.stream is not None
    assert agreed.stream.security is not None
    return agreed.stream.security


def is_plain(agreed: Negotiated) -> bool:
    (media,) = agreed.description.media
    assert agreed.stream is not None
    return agreed.stream.security is None and not cryptos_of(media)


@pytest.mark.parametrize("protocol", ["RTP/SAVP", "RTP/AVP", "RTP/SAVPF"])
@pytest.mark.parametrize("policy", ["offer", "require"])
def test_the_first_suite_that_we_do_is_accepted_with_a_key_of_our_own(
    protocol: str, policy: SrtpPolicy
) -> None:
    foreign = Crypto(9, "F8_128_HMAC_SHA1_80", theirs().key)
    agreed = answer(offered(protocol, foreign, theirs(4, CM_32), theirs(5)), party(policy))
    (media,) = agreed.description.media
    (ours,) = cryptos_of(media)
    security = security_of(agreed)
    assert media.protocol == protocol
    assert (ours.tag, ours.suite) == (4, CM_32)
    assert ours.key != theirs(4, CM_32).key
    assert (security.send, security.receive) == (ours, theirs(4, CM_32))
    assert security.rocs_tried == ROCS_TRIED


@pytest.mark.parametrize(
    ("protocol", "cryptos", "policy", "plain"),
    [
        ("RTP/AVP", (), "off", True),
        ("RTP/AVP", (), "offer", True),
        ("RTP/AVP", (theirs(),), "off", True),
        ("RTP/AVP", (), "require", None),
        ("RTP/SAVP", (theirs(),), "off", None),
        ("RTP/SAVP", (), "offer", None),
        ("RTP/SAVP", (), "require", None),
        ("UDP/TLS/RTP/SAVPF", (theirs(),), "offer", None),
    ],
)
def test_what_cannot_be_met_is_488(
    protocol: str, cryptos: tuple[Crypto, ...], policy: SrtpPolicy, plain: bool | None
) -> None:
    if plain:
        assert is_plain(answer(offered(protocol, *cryptos), party(policy)))
        return
    with pytest.raises(SdpError) as refused:
        answer(offered(protocol, *cryptos), party(policy))
    assert refused.value.status == 488


def test_the_same_offer_again_changes_no_key_and_no_version() -> None:
    first = answer(offered("RTP/SAVP", theirs()), party("offer"))
    again = answer(
        offered("RTP/SAVP", theirs()),
        party("offer"),
        first.description,
        standing=security_of(first),
    )
    assert again == first


def test_the_same_key_under_another_tag_goes_on() -> None:
    first = answer(offered("RTP/SAVP", theirs(1)), party("offer"))
    moved = Crypto(2, CM_80, theirs(1).key)
    again = answer(
        offered("RTP/SAVP", moved), party("offer"), first.description, standing=security_of(first)
    )
    (ours,) = cryptos_of(again.description.media[0])
    send = security_of(first).send
    assert send is not None
    assert ours.tag == 2
    assert ours.has_key_of(send)


def test_a_new_key_or_suite_of_the_peer_gets_a_new_one() -> None:
    first = answer(offered("RTP/SAVP", theirs()), party("offer"))
    keys = {security_of(first).send}
    agreed = first
    for renewal in (theirs(version=2), theirs(suite=GCM), theirs(version=3)):
        agreed = answer(
            offered("RTP/SAVP", renewal),
            party("offer"),
            agreed.description,
            standing=security_of(agreed),
        )
        keys.add(security_of(agreed).send)
    assert len({key and key.key.reveal() for key in keys}) == 4


def test_our_offer_has_all_suites_and_the_answer_one_of_them() -> None:
    for policy, profile in (("offer", "RTP/AVP"), ("require", "RTP/SAVP")):
        us = party(policy)
        ours = offer(us)
        assert ours.media[0].protocol == profile
        chosen = cryptos_of(ours.media[0])[3]
        answered = offered(profile, theirs(chosen.tag, chosen.suite))
        security = security_of(complete(ours, answered, us))
        assert (security.send, security.receive) == (chosen, theirs(chosen.tag, chosen.suite))


def test_an_answer_without_keys_is_plain_rtp_only_where_that_was_offered() -> None:
    ours = offer(party("offer"))
    assert complete(ours, offered("RTP/AVP"), party("offer")).stream is not None
    assert security_or_none(complete(ours, offered("RTP/AVP"), party("offer"))) is None
    for policy, us in (("require", offer(party("require"))), ("off", offer(party("off")))):
        answered = offered(us.media[0].protocol, *([theirs()] if policy == "off" else []))
        with pytest.raises(SdpError):
            complete(us, answered, party(policy))


def security_or_none(agreed: Negotiated) -> Security | None:
    assert agreed.stream is not None
    return agreed.stream.security


def test_a_later_offer_repeats_our_key() -> None:
    us = party("offer")
    first = answer(offered("RTP/SAVP", theirs()), us)
    again = offer(us, first.description)
    assert cryptos_of(again.media[0]) == cryptos_of(first.description.media[0])
    assert again.media[0].protocol == "RTP/SAVP"


def test_an_heir_offers_keys_of_its_own_and_looks_for_the_rollover_counter() -> None:
    us, heir = party("offer"), party("offer", "heir")
    first = answer(offered("RTP/SAVP", theirs()), us)
    withheld = security_of(first).withheld
    assert (withheld.receive, withheld.send) == (None, None)
    shown = parse_sdp(without_keys(format_sdp(first.description)))
    renewed = offer(heir, renewed_description(shown, heir.srtp))
    (key,) = cryptos_of(renewed.media[0])
    assert not key.has_key_of(security_of(first).send)
    agreed = complete(renewed, offered("RTP/SAVP", theirs()), heir, withheld)
    security = security_of(agreed)
    assert (security.send, security.receive) == (key, theirs())
    assert security.rocs_tried == ROCS_TRIED_BY_HEIRS


def test_a_malformed_key_refuses_the_offer() -> None:
    media = Media("audio", 4000, "RTP/SAVP", ("0",), attributes=(Attribute("crypto", "1"),))
    description = offered("RTP/SAVP")
    broken = SessionDescription(
        description.origin, connection=description.connection, media=(media,)
    )
    with pytest.raises(SdpError, match="three fields"):
        answer(broken, party("offer"))
