"""Digest, Contact and other header values: readers and writers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.native import Credentials, parse_credentials
from sipfarm.signaling.headers import (
    DIGEST_CHARS_MAX,
    Challenge,
    format_challenge,
    format_credentials,
    format_date,
    format_q,
    parse_challenge,
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


@pytest.mark.parametrize(("q", "text"), [(0, "0"), (50, "0.05"), (500, "0.5"), (1_000, "1")])
def test_q_is_written_without_needless_zeros(q: int, text: str) -> None:
    assert format_q(q) == text


def test_date_of_rfc_3261_20_17() -> None:
    assert format_date(1_289_690_940_000) == "Sat, 13 Nov 2010 23:29:00 GMT"
