"""Digest, Contact and other header values: readers and writers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.native import Credentials, Uri, parse_credentials
from sipfarm.signaling.headers import (
    DELTA_SECONDS_MAX,
    DIGEST_CHARS_MAX,
    Challenge,
    contact_key,
    format_challenge,
    format_credentials,
    format_date,
    format_q,
    parse_challenge,
    parse_delta_seconds,
    parse_q,
    sent_by,
)

RFC_7616_3_9_1 = (
    'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html",'
    " algorithm=SHA-256,"
    ' nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001,'
    ' cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth,'
    ' response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",'
    ' opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)

plain = st.text(st.characters(codec="ascii", exclude_characters='"\\\r\n', min_codepoint=32))
quotable = st.text(st.characters(codec="utf-8", exclude_characters="\r\n", min_codepoint=32))
token = st.text("abcXYZ019-._~", min_size=1, max_size=12)


def test_credentials_of_rfc_7616_3_9_1_are_read() -> None:
    found = parse_credentials(RFC_7616_3_9_1)
    assert found is not None
    assert (found.username, found.realm) == ("Mufasa", "http-auth@example.org")
    assert (found.algorithm, found.qop, found.nc) == ("SHA-256", "auth", "00000001")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Digest",
        "Basic YWxpY2U6cHc=",
        'Digest username="a"',
        'Digest username="a", username="b", realm="r", nonce="n", uri="u", response="x"',
        'Digest username="a, realm="r", nonce="n", uri="u", response="x"',
        'Digest username="a", realm="r", nonce="n", uri="u", response="x',
        'Digest username="a"; realm="r", nonce="n", uri="u", response="x"',
        'Digest username=, realm="r", nonce="n", uri="u", response="x"',
        'Digest username="a", realm="r", nonce="n", uri="u", response="x"' + " " * DIGEST_CHARS_MAX,
        "Digest " + 'a="' * 1_000,
        "Digest " + "a=" * 1_000,
        "Digest " + "=" * 1_000,
        "Digest " + "\\" * 1_000,
    ],
)
def test_malformed_credentials_are_nothing(value: str) -> None:
    assert parse_credentials(value) is None


def test_quoted_pairs_in_a_username_are_undone() -> None:
    value = r'Digest username="a\"b\\c", realm="r", nonce="n", uri="u", response="x"'
    found = parse_credentials(value)
    assert found is not None
    assert found.username == 'a"b\\c'


def test_credentials_do_not_show_the_response() -> None:
    found = parse_credentials(RFC_7616_3_9_1)
    assert "753927fa" not in repr(found)


@given(st.text(max_size=200))
def test_any_text_is_credentials_or_nothing(text: str) -> None:
    for value in (text, "Digest " + text):
        assert isinstance(parse_credentials(value), Credentials | None)
        assert isinstance(parse_challenge(value), Challenge | None)


@given(quotable, quotable, plain, plain, plain, token)
def test_credentials_survive_writing_and_reading(
    username: str, realm: str, nonce: str, uri: str, cnonce: str, algorithm: str
) -> None:
    written = Credentials(username, realm, nonce, uri, "0a", algorithm, cnonce, "auth", "00000001")
    assert parse_credentials(format_credentials(written)) == written


@given(quotable, plain, token, st.booleans())
def test_a_challenge_survives_writing_and_reading(
    realm: str, nonce: str, algorithm: str, stale: bool
) -> None:
    written = Challenge(realm, nonce, algorithm, "auth", "0paque", stale)
    assert parse_challenge(format_challenge(written)) == written


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 3600 ", 3_600),
        ("00000000000060", 60),
        ("4294967296", DELTA_SECONDS_MAX),  # RFC 4475 §3.1.2.4
        ("9" * 5_000, DELTA_SECONDS_MAX),
        ("", None),
        ("-1", None),
        ("1e3", None),
        ("٣", None),
        ("3600;a", None),
    ],
)
def test_delta_seconds(text: str, seconds: int | None) -> None:
    assert parse_delta_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "thousandths"),
    [
        ("1", 1_000),
        ("1.000", 1_000),
        ("0.5", 500),
        ("0.", 0),
        ("0.05", 50),
        ("0.001", 1),
        ("1.001", None),
        ("2", None),
        (".5", None),
        ("0.0001", None),
        ("", None),
    ],
)
def test_q(text: str, thousandths: int | None) -> None:
    assert parse_q(text) == thousandths


@given(st.integers(0, 1_000))
def test_q_survives_writing_and_reading(q: int) -> None:
    assert parse_q(format_q(q)) == q


@pytest.mark.parametrize(
    ("via", "expected"),
    [
        ("SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK1", ("192.0.2.1", 5062)),
        ("SIP / 2.0 / TCP  Phone.Example ;branch=x", ("phone.example", 0)),
        ("SIP/2.0/UDP [2001:db8::1]:5060", ("[2001:db8::1]", 5060)),
        ("SIP/2.0/UDP a.test, SIP/2.0/UDP b.test", ("a.test", 0)),
        ("SIP/2.0/UDP", None),
        ("", None),
    ],
)
def test_sent_by(via: str, expected: tuple[str, int] | None) -> None:
    assert sent_by(via) == expected


def test_date_of_rfc_3261_20_17() -> None:
    assert format_date(1_289_690_940_000) == "Sat, 13 Nov 2010 23:29:00 GMT"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("sip:bob@192.0.2.4", "SIP:bob@192.0.2.4", True),
        ("sip:bob@Phone.Example", "sip:bob@phone.example", True),
        ("sip:%62ob@192.0.2.4", "sip:bob@192.0.2.4", True),
        ("sip:bob@192.0.2.4;ob;transport=TCP", "sip:bob@192.0.2.4;transport=tcp;ob", True),
        ("sip:bob@192.0.2.4", "sip:Bob@192.0.2.4", False),
        ("sip:bob@192.0.2.4", "sip:bob@192.0.2.4:5060", False),
        ("sip:bob@192.0.2.4", "sips:bob@192.0.2.4", False),
        ("sip:bob@192.0.2.4;line=1", "sip:bob@192.0.2.4;line=2", False),
    ],
)
def test_contacts_are_told_apart_like_uris(one: str, other: str, *, same: bool) -> None:
    """RFC 3261 §19.1.4, and its deviation in `contact_key`."""
    assert (contact_key(Uri.parse(one)) == contact_key(Uri.parse(other))) is same
