"""The crypto attribute (RFC 4568)."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.base.secrets import Secret
from sipfarm.media.sdes import (
    CRYPTOS_MAX,
    SUITES,
    Crypto,
    Mki,
    Suite,
    UnsupportedCryptoError,
    accepted,
    attributes_of,
    cryptos_of,
    format_crypto,
    made,
    offers,
    parse_crypto,
    renewed,
    without_keys,
)
from sipfarm.media.sdp import Attribute, Media, SdpError
from sipfarm.native import SrtpKeying

# The example of RFC 4568 §9.1: 30 bytes of key and salt.
KEY = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
SUITE = "AES_CM_128_HMAC_SHA1_80"
SEED = Secret("seed")


def line(*values: str) -> Media:
    attributes = tuple(Attribute("crypto", value) for value in values)
    return Media("audio", 4000, "RTP/SAVP", ("0",), attributes=attributes)


def test_the_examples_of_the_rfc_are_read() -> None:
    first = parse_crypto(f"1 {SUITE} inline:{KEY}|2^20|1:4")
    assert (first.tag, first.suite, first.lifetime, first.mki) == (1, SUITE, 1 << 20, Mki(1, 4))
    assert first.master == base64.b64decode(KEY)
    second = parse_crypto(f"2 {SUITE} inline:{KEY}|1:32")
    assert (second.lifetime, second.mki) == (None, Mki(1, 32))
    assert second.mki is not None
    assert second.mki.wire == bytes(31) + b"\x01"
    third = parse_crypto(f"3 {SUITE} inline:{KEY}|1048576 WSH=100")
    assert (third.lifetime, third.mki, third.replay_window) == (1_048_576, None, 100)


@pytest.mark.parametrize("suite", SUITES)
def test_the_padding_of_a_key_may_be_left_out(suite: Suite) -> None:
    whole = format_crypto(made(1, suite.name, SEED, 1))
    assert parse_crypto(whole.rstrip("=")) == parse_crypto(whole)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (f"1 F8_128_HMAC_SHA1_80 inline:{KEY}", "suite"),
        (f"1 {SUITE} uri:https://keys.example", "inline"),
        (f"1 {SUITE} inline:{KEY}|2^20|1:4;inline:{KEY}|2^20|2:4", "inline"),
        (f"1 {SUITE} inline:{KEY} KDR=0", "derived"),
        (f"1 {SUITE} inline:{KEY} UNENCRYPTED_SRTP", "parameter"),
        (f"1 {SUITE} inline:{KEY} UNENCRYPTED_SRTCP", "parameter"),
        (f"1 {SUITE} inline:{KEY} UNAUTHENTICATED_SRTP", "parameter"),
        (f"1 {SUITE} inline:{KEY} FEC_ORDER=FEC_SRTP", "parameter"),
        (f"1 {SUITE} inline:{KEY} FEC_KEY=inline:{KEY}", "parameter"),
        (f"1 {SUITE} inline:{KEY} FUTURE=1", "parameter"),
    ],
)
def test_what_is_not_done_is_passed_over_where_it_is_one_of_several(value: str, what: str) -> None:
    with pytest.raises(UnsupportedCryptoError, match=what):
        parse_crypto(value)
    others = cryptos_of(line(value, f"7 {SUITE} inline:{KEY}"))
    assert [crypto.tag for crypto in others] == [7]


def test_a_session_parameter_that_may_be_passed_over_is() -> None:
    assert parse_crypto(f"1 {SUITE} inline:{KEY} -FUTURE=1").tag == 1


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"1 {SUITE}",
        f"x {SUITE} inline:{KEY}",
        f"-1 {SUITE} inline:{KEY}",
        f"1234567890 {SUITE} inline:{KEY}",
        f"1 {SUITE} {KEY}",
        f"1 {SUITE} inline:",
        f"1 {SUITE} inline:{KEY[:-4]}",
        f"1 {SUITE} inline:{KEY}AAAA",
        f"1 {SUITE} inline:{KEY[:-1]}!",
        f"1 {SUITE} inline:{KEY[:-1]}\u00e9",
        f"1 {SUITE} inline:{KEY}|0",
        f"1 {SUITE} inline:{KEY}|2^49",
        f"1 {SUITE} inline:{KEY}|2^" + "9" * 300,
        f"1 {SUITE} inline:{KEY}|two",
        f"1 {SUITE} inline:{KEY}|1:4|2^20",
        f"1 {SUITE} inline:{KEY}|2^20|1:4|x",
        f"1 {SUITE} inline:{KEY}|1:0",
        f"1 {SUITE} inline:{KEY}|1:129",
        f"1 {SUITE} inline:{KEY}|256:1",
        f"1 {SUITE} inline:{KEY}|:4",
        f"1 {SUITE} inline:{KEY} KDR=25",
        f"1 {SUITE} inline:{KEY} WSH=63",
        f"1 {SUITE} inline:{KEY} WSH=many",
    ],
)
def test_what_is_malformed_is_refused(value: str) -> None:
    with pytest.raises(SdpError) as refused:
        parse_crypto(value)
    assert not isinstance(refused.value, UnsupportedCryptoError)
    assert KEY not in str(refused.value)


@given(st.text())
def test_any_text_is_an_attribute_or_an_sdp_error(text: str) -> None:
    for value in (text, f"1 {SUITE} {text}", f"1 {SUITE} inline:{KEY}{text}"):
        try:
            crypto = parse_crypto(value)
        except SdpError:
            continue
        assert parse_crypto(format_crypto(crypto)) == crypto


CRYPTOS = st.builds(
    lambda suite, tag, key, lifetime, mki, window: Crypto(
        tag,
        suite.name,
        Secret(base64.b64encode(key[: suite.master_bytes]).decode()),
        lifetime,
        mki,
        window,
    ),
    st.sampled_from(SUITES),
    st.integers(0, 999_999_999),
    st.binary(min_size=46, max_size=46),
    st.none() | st.integers(1, 1 << 48),
    st.none()
    | st.integers(1, 128).flatmap(
        lambda length: st.builds(Mki, st.integers(0, (1 << 8 * length) - 1), st.just(length))
    ),
    st.integers(64, 512),
)


@given(CRYPTOS)
def test_what_is_written_is_read_the_same(crypto: Crypto) -> None:
    assert parse_crypto(format_crypto(crypto)) == crypto
    assert repr(crypto).count(crypto.key.reveal()) == 0
    mki = crypto.mki.wire if crypto.mki else b""
    assert repr(SrtpKeying(crypto.suite, crypto.master, mki)) == "SrtpKeying(***)"


def test_two_attributes_with_one_tag_and_too_many_are_refused() -> None:
    with pytest.raises(SdpError, match="one tag"):
        cryptos_of(line(f"1 {SUITE} inline:{KEY}", f"1 {SUITE} inline:{KEY}"))
    with pytest.raises(SdpError, match="too many"):
        cryptos_of(line(*[f"{n} {SUITE} inline:{KEY}" for n in range(CRYPTOS_MAX + 1)]))


def test_an_answer_accepts_one_of_what_was_offered_by_its_tag() -> None:
    offered = offers(SEED, 1)
    theirs = made(offered[2].tag, offered[2].suite, Secret("theirs"), 1)
    assert accepted(offered, (theirs,)) == (offered[2], theirs)
    wrong_suite = made(offered[2].tag, offered[3].suite, Secret("theirs"), 1)
    wrong_tag = made(99, offered[2].suite, Secret("theirs"), 1)
    for answered in ((), (theirs, theirs), (wrong_suite,), (wrong_tag,)):
        with pytest.raises(SdpError) as refused:
            accepted(offered, answered)
        assert refused.value.status == 488


def test_keys_of_our_own_are_told_apart_by_version_tag_suite_and_call() -> None:
    made_keys = [
        crypto.key
        for seed in (SEED, Secret("another call"))
        for version in (1, 2)
        for crypto in offers(seed, version)
    ]
    assert len({key.reveal() for key in made_keys}) == len(made_keys) == 4 * len(SUITES)
    assert offers(SEED, 1) == offers(SEED, 1)


def test_what_is_kept_of_a_description_has_no_key_and_an_heir_puts_others_in() -> None:
    ours = made(4, SUITE, SEED, 1)
    body = f"v=0\r\nm=audio 1 RTP/SAVP 0\r\na=crypto:{format_crypto(ours)}\r\na=sendrecv\r\n"
    kept = without_keys(body.encode())
    assert kept == body.replace(ours.key.reveal(), "***").encode()
    attributes = (Attribute("crypto", f"4 {SUITE} inline:***"), Attribute("sendrecv"))
    assert renewed(attributes, Secret("heir"), 2) == (
        *attributes_of((made(4, SUITE, Secret("heir"), 2),)),
        Attribute("sendrecv"),
    )
    withheld_part = f"1 {SUITE} inline:{KEY}|2^20|1:4"
    assert KEY.encode() not in without_keys(f"a=crypto:{withheld_part}\n".encode())
