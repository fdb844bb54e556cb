"""Digest challenges and verdicts (RFC 7616, RFC 8760, RFC 3261 §22)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.native import Credentials, digest_response, parse_credentials, same_resource
from sipfarm.signaling.digest import (
    Algorithm,
    Digest,
    DigestSettings,
    Verdict,
    hash_ha1,
)
from sipfarm.signaling.headers import parse_challenge
from tests.signaling.plain_sip import (
    KEY,
    OWN,
    PHONE,
    WALL_MS,
    PlainRequest,
    account,
    answered,
    request,
)
from tests.signaling.test_header_values import RFC_7616_3_9_1

REALM = "example.test"
ALICE = account("alice")


def farm(number: int = 1, **settings: object) -> Digest:
    return Digest(DigestSettings(**settings), (KEY,), number, OWN)


def proven(digest: Digest, **changes: str) -> PlainRequest:
    """A request of alice's with the answer to a challenge of this member."""
    blank = request()
    challenge = digest.challenge(REALM, PHONE, WALL_MS, proxy=True)
    value = answered(blank, challenge, "alice", **changes)
    return blank.with_lines(("Proxy-Authorization", value))


def verdict(digest: Digest, made: PlainRequest, wall_ms: int = WALL_MS) -> Verdict:
    credentials = digest.credentials(made, REALM, proxy=True)
    assert isinstance(credentials, Credentials)
    return digest.verify(credentials, ALICE, made, wall_ms)


def test_response_of_rfc_7616_3_9_1() -> None:
    credentials = parse_credentials(RFC_7616_3_9_1)
    assert credentials is not None
    ha1 = hash_ha1("Mufasa", "http-auth@example.org", "Circle of Life", "SHA-256")
    assert digest_response(credentials, ha1, "GET") == credentials.response


def test_a_challenge_has_a_header_for_each_algorithm_best_first() -> None:
    """RFC 8760 §2.4."""
    reply = farm().challenge(REALM, PHONE, WALL_MS, proxy=False)
    challenges = [parse_challenge(value) for _, value in reply.headers]
    assert reply.status == 401
    assert [c and (c.algorithm, c.qop, c.realm) for c in challenges] == [
        ("SHA-256", "auth", REALM),
        ("MD5", "auth", REALM),
    ]


def test_a_proxy_challenges_with_407() -> None:
    reply = farm().challenge(REALM, PHONE, WALL_MS, proxy=True)
    assert (reply.status, reply.headers[0][0]) == (407, "Proxy-Authenticate")


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_the_right_password_is_accepted(algorithm: Algorithm) -> None:
    digest = farm(algorithms=(algorithm,))
    assert verdict(digest, proven(digest)) is Verdict.ACCEPTED


def test_another_member_accepts_it() -> None:
    assert verdict(farm(2), proven(farm(1))) is Verdict.ACCEPTED


@pytest.mark.parametrize(
    "changes",
    [{"password": "wrong"}, {"name": "bob"}, {"uri": "sip:mallory@example.test"}, {"uri": "sip:x"}],
)
def test_wrong_credentials_are_refused(changes: dict[str, str]) -> None:
    digest = farm()
    assert verdict(digest, proven(digest, **changes)) is Verdict.REFUSED


def test_an_unknown_account_is_refused_like_a_wrong_password() -> None:
    digest = farm()
    made = proven(digest)
    credentials = digest.credentials(made, REALM, proxy=True)
    assert isinstance(credentials, Credentials)
    assert digest.verify(credentials, None, made, WALL_MS) is Verdict.REFUSED


def test_an_algorithm_that_is_not_offered_is_not_looked_at() -> None:
    made = proven(farm(algorithms=("MD5",)))
    strict = farm(algorithms=("SHA-256",))
    assert strict.credentials(made, REALM, proxy=True) is Verdict.ABSENT


def test_the_stronger_of_two_answers_counts() -> None:
    weak, strong = farm(algorithms=("MD5",)), farm()
    made = proven(weak)
    value = proven(strong).header("Proxy-Authorization")
    assert value is not None
    found = strong.credentials(made.with_lines(("Proxy-Authorization", value)), REALM, proxy=True)
    assert isinstance(found, Credentials)
    assert found.algorithm == "SHA-256"


def test_an_old_nonce_is_stale() -> None:
    digest = farm(nonce_lifetime_ms=30_000)
    made = proven(digest)
    assert verdict(digest, made, WALL_MS + 30_001) is Verdict.STALE


def test_a_wrong_password_is_told_of_over_a_living_nonce_only() -> None:
    """RFC 7616 §3.3. Whoever has an old nonce may not have this address any more: a guess over it
    tells nothing, and is held against nobody.
    """
    digest = farm()
    made = proven(digest, password="wrong")
    assert verdict(digest, made) is Verdict.REFUSED
    assert verdict(digest, made, WALL_MS + 3_600_000) is Verdict.STALE


def test_a_digest_replayed_by_another_source_is_not_accepted() -> None:
    digest = farm()
    made = proven(digest)
    assert verdict(digest, made.from_source((PHONE[0], 6_666))) is Verdict.STALE
    assert verdict(digest, made.from_source(("192.0.2.66", PHONE[1]))) is Verdict.STALE


def test_a_digest_replayed_in_another_transaction_is_not_accepted() -> None:
    digest = farm()
    made = proven(digest)
    assert verdict(digest, made) is Verdict.ACCEPTED
    assert verdict(digest, made.with_lines(branch="replay")) is Verdict.STALE


def test_a_retransmission_is_accepted_again() -> None:
    digest = farm()
    made = proven(digest)
    assert [verdict(digest, made) for _ in range(3)] == [Verdict.ACCEPTED] * 3


def test_a_nonce_of_the_callers_own_making_is_stale() -> None:
    digest = farm()
    forger = Digest(DigestSettings(), (b"x" * 32,), 1, OWN)
    assert verdict(digest, proven(forger)) is Verdict.STALE


def test_a_nonce_serves_a_client_without_qop_once() -> None:
    """RFC 3261 §22.4 item 8, and no replay all the same."""
    digest = farm(algorithms=("MD5",))
    blank = request()
    offered = parse_challenge(digest.challenge(REALM, PHONE, WALL_MS, proxy=True).headers[0][1])
    assert offered is not None
    bare = Credentials("alice", REALM, offered.nonce, blank.request_uri, "", "MD5")
    response = digest_response(bare, ALICE.ha1_md5, "INVITE")
    value = (
        f'Digest username="alice", realm="{REALM}", nonce="{offered.nonce}",'
        f' uri="{blank.request_uri}", response="{response}"'
    )
    made = blank.with_lines(("Proxy-Authorization", value))
    assert verdict(digest, made) is Verdict.ACCEPTED
    assert verdict(digest, made.with_lines(branch="next")) is Verdict.STALE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nc=00000001", "nc=1"),
        ("nc=00000001", "nc=0x000001"),
        ("nc=00000001", "nc=0000_001"),
        ("qop=auth", "qop=auth-int"),
        ('cnonce="cn0nce"', 'cnonce=""'),
    ],
)
def test_a_malformed_nonce_count_or_qop_is_malformed(old: str, new: str) -> None:
    digest = farm()
    value = proven(digest).header("Proxy-Authorization")
    assert value is not None
    assert old in value
    made = request(
        "INVITE", "sip:bob@example.test", ("Proxy-Authorization", value.replace(old, new))
    )
    assert verdict(digest, made) is Verdict.MALFORMED


def test_credentials_for_another_realm_are_not_ours() -> None:
    digest = farm()
    assert digest.credentials(proven(digest), "other.test", proxy=True) is Verdict.ABSENT


def test_malformed_digest_is_told_from_another_scheme() -> None:
    digest = farm()
    broken = request("INVITE", "sip:b@x.test", ("Proxy-Authorization", "Digest nonsense"))
    basic = request("INVITE", "sip:b@x.test", ("Proxy-Authorization", "Basic bm9uc2Vuc2U="))
    assert digest.credentials(broken, REALM, proxy=True) is Verdict.MALFORMED
    assert digest.credentials(basic, REALM, proxy=True) is Verdict.ABSENT


@pytest.mark.parametrize(
    ("uri", "request_uri", "same"),
    [
        ("sip:bob@example.test", "sip:bob@example.test", True),
        ("sip:bob@example.test", "sip:bob@EXAMPLE.test:5060;transport=tcp", True),
        ("sips:bob@example.test", "sip:bob@example.test", True),
        ("sip:example.test", "sip:example.test:5060", True),
        ("sip:b@[2001:db8::1]", "sip:b@[2001:db8::1]:5060", True),
        ("sip:bob@example.test", "sip:Bob@example.test", False),
        ("sip:bob@example.test", "sip:bob@evil.test", False),
        ("sip:example.test", "sip:bob@example.test", False),
        ("sip:127.0.0.1:5060", "sip:bob@example.test", True),  # as SIPp writes it
        ("sip:127.0.0.1:5999", "sip:bob@example.test", False),
        ("sip:eve@127.0.0.1:5060", "sip:bob@example.test", False),
        ("tel:1002", "tel:1002", True),
        ("tel:1003", "tel:1002", False),
        ("sip:127.0.0.1:99999999999", "sip:bob@example.test", False),
        ("sip:b@[2001:db8::1]", "sip:b@[2001:db8::2]", False),
        ("", "sip:bob@example.test", False),
    ],
)
def test_the_uri_of_a_digest_is_held_against_the_request_uri(
    uri: str, request_uri: str, same: bool
) -> None:
    assert same_resource(uri, request_uri, OWN) is same


@given(st.text(max_size=60), st.sampled_from(["nonce", "response", "uri", "cnonce", "nc", "qop"]))
def test_no_credentials_raise_anything(text: str, field: str) -> None:
    fields = {
        "username": "alice",
        "realm": REALM,
        "nonce": "n",
        "uri": "sip:bob@example.test",
        "response": "r",
        "cnonce": "c",
        "qop": "auth",
        "nc": "00000001",
    }
    credentials = Credentials(**{**fields, field: text})
    assert farm().verify(credentials, ALICE, request(), WALL_MS) is not Verdict.ACCEPTED


@pytest.mark.parametrize(
    "settings", [{"algorithms": ()}, {"algorithms": ("MD5", "MD5")}, {"nonce_lifetime_ms": 0}]
)
def test_settings_without_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        DigestSettings(**settings)
