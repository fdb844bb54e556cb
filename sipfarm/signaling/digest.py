"""Digest authentication: challenge, verdict, and a client's answer (RFC 7616, 8760, 3261 §22)."""

from enum import IntEnum
from hashlib import md5, sha256
from typing import Final, Literal

import msgspec

from sipfarm.base.records import Account
from sipfarm.native import Credentials, DigestGuard, Message, OwnAddresses, digest_response
from sipfarm.signaling.headers import Challenge
from sipfarm.signaling.reply import Reply

Algorithm = Literal["SHA-256", "MD5"]
# MD5 where none is named (RFC 7616 §3.4).
_HASHES: Final = {"SHA-256": sha256, "MD5": md5, "": md5}
NO_ADDRESSES: Final = OwnAddresses((), ())


SourceBinding = Literal["port", "host"]


class CountsSettings(msgspec.Struct, frozen=True):
    """Bounds of the memory of nonces; a full one forgets the oldest and asks their phones again."""

    nonces_max: int = 32_768
    counts_max: int = 64  # of one nonce; how far parallel requests may overtake each other


class DigestSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How callers are challenged.

    `algorithms` in the order of preference: one header each, and a client takes the first it
    knows (RFC 8760 §2.4); SIPp 3.6 gives up unless MD5 comes first. A short `nonce_lifetime_ms`
    bounds replay on a member that has not seen the first use; nonce.hpp tells of that, and of what
    `bind_nonce_to` stands for.
    """

    algorithms: tuple[Algorithm, ...] = ("SHA-256", "MD5")
    nonce_lifetime_ms: int = 60_000
    bind_nonce_to: SourceBinding = "port"
    counts: CountsSettings = CountsSettings()

    def __post_init__(self) -> None:
        if not self.algorithms or len(set(self.algorithms)) != len(self.algorithms):
            raise ValueError("algorithms must name SHA-256 or MD5 or both, each once")
        if not 1_000 <= self.nonce_lifetime_ms <= 3_600_000:
            raise ValueError(f"nonce_lifetime_ms={self.nonce_lifetime_ms} must be in 1000..3600000")


class Verdict(IntEnum):
    """What credentials are worth."""

    ABSENT = 0
    ACCEPTED = 1
    STALE = 2  # the nonce is not good here, or no more: ask again, `stale=true` (RFC 7616 §3.3)
    REFUSED = 3  # wrong, over a nonce that was given to this very source: it is no forged one
    MALFORMED = 4


_VERDICTS: Final = tuple(Verdict)


class Digest:
    """Challenges, and judges what comes back. The nonces and their memory are native: nonce.hpp."""

    def __init__(
        self,
        settings: DigestSettings,
        keys: tuple[bytes, ...],
        member_number: int,
        own: OwnAddresses = NO_ADDRESSES,
    ) -> None:
        """Keys: `FarmKeys.nonce` of the current secret, then of the previous one."""
        self.guard = DigestGuard(
            algorithms=settings.algorithms,
            nonce_lifetime_ms=settings.nonce_lifetime_ms,
            own=own,
            keys=keys,
            member_number=member_number,
            bind_to=settings.bind_nonce_to,
            nonces_max=settings.counts.nonces_max,
            counts_max=settings.counts.counts_max,
        )

    @property
    def nonces_known(self) -> int:
        """Of how many nonces the use is remembered."""
        return self.guard.nonces_known

    def challenge(
        self, realm: str, source: tuple[str, int], wall_ms: int, *, proxy: bool, stale: bool = False
    ) -> Reply:
        """401, or 407 as a proxy, with one header for each algorithm (RFC 3261 §22.2, §22.3)."""
        name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
        values = self.guard.challenges(realm, source, wall_ms, stale)
        return Reply(407 if proxy else 401, "", tuple([(name, value) for value in values]))

    def credentials(self, request: Message, realm: str, *, proxy: bool) -> Credentials | Verdict:
        """The credentials for a realm by the algorithm we like best; else ABSENT or MALFORMED."""
        found = self.guard.find(request, realm, proxy)
        return _VERDICTS[found] if isinstance(found, int) else found

    def verify(
        self, credentials: Credentials, account: Account | None, request: Message, wall_ms: int
    ) -> Verdict:
        """Judge a digest (RFC 7616 §3.4); no account is refused like a wrong password.

        A nonce that this source never got is stale, whatever the password: nobody learns by it
        whether a guess was right.
        """
        md5, sha256 = ("", "") if account is None else (account.ha1_md5, account.ha1_sha256)
        return _VERDICTS[self.guard.judge(credentials, md5, sha256, request, wall_ms)]


def hash_ha1(username: str, realm: str, password: str, algorithm: str) -> str:
    """HA1 (RFC 7616 §3.4.2)."""
    digest = _HASHES[algorithm.upper()]
    return digest(f"{username}:{realm}:{password}".encode()).hexdigest()


def answer_challenge(
    challenge: Challenge, username: str, ha1: str, request: tuple[str, str], use: tuple[str, int]
) -> Credentials:
    """A client's credentials for (method, URI), used with (cnonce, nonce count) (RFC 7616 §3.4)."""
    cnonce, count = use
    offered = [option.strip() for option in challenge.qop.lower().split(",")]
    qop = "auth" if "auth" in offered else ""
    nc = f"{count:08x}" if qop else ""

    def credentials(response: str) -> Credentials:
        return Credentials(
            username,
            challenge.realm,
            challenge.nonce,
            request[1],
            response,
            challenge.algorithm,
            cnonce if qop else "",
            qop,
            nc,
        )

    return credentials(digest_response(credentials(""), ha1, request[0]))
