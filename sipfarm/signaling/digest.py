"""Digest authentication: challenge, verdict, and a client's answer (RFC 7616, 8760, 3261 §22)."""

from binascii import unhexlify
from enum import IntEnum
from hashlib import md5, sha256
from hmac import compare_digest
from typing import Final, Literal

import msgspec

from sipfarm.base.records import Account
from sipfarm.native import digest_response
from sipfarm.signaling.headers import Challenge, Credentials, is_digest, parse_credentials
from sipfarm.signaling.message import OwnAddresses, RequestView, transaction_of
from sipfarm.signaling.nonce import (
    CountsSettings,
    NonceCounts,
    NonceMint,
    SourceBinding,
    Use,
    issued_wall_ms,
)
from sipfarm.signaling.reply import Reply

Algorithm = Literal["SHA-256", "MD5"]
# MD5 where none is named (RFC 7616 §3.4).
_HASHES: Final = {"SHA-256": sha256, "MD5": md5, "": md5}
NO_ADDRESSES: Final = OwnAddresses(frozenset(), frozenset())
CREDENTIALS_MAX: Final = 8  # Authorization lines looked at


class DigestSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How callers are challenged.

    `algorithms` in the order of preference: one header each, and a client takes the first it
    knows (RFC 8760 §2.4); SIPp 3.6 gives up unless MD5 comes first. A short `nonce_lifetime_ms`
    bounds replay on a member that has not seen the first use; see nonce.py.
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
    STALE = 2  # the password is right, the nonce is not good (any more): ask again, `stale=true`
    REFUSED = 3
    MALFORMED = 4


# Looked up once: a member of an enumeration costs a call each time.
_ABSENT, _ACCEPTED, _STALE, _REFUSED, _MALFORMED = Verdict
_SAME_TRANSACTION: Final = Use.SAME_TRANSACTION


class Digest:
    """Challenges, and judges what comes back."""

    def __init__(
        self,
        settings: DigestSettings,
        keys: tuple[bytes, ...],
        member_number: int,
        own: OwnAddresses = NO_ADDRESSES,
    ) -> None:
        """Keys: `FarmKeys.nonce` of the current secret, then of the previous one."""
        self._settings = settings
        self._own = own
        self._mint = NonceMint(keys, member_number, settings.bind_nonce_to)
        self._counts = NonceCounts(settings.counts)
        self._ranks = {name.upper(): rank for rank, name in enumerate(settings.algorithms)}
        if "MD5" in self._ranks:
            self._ranks[""] = self._ranks["MD5"]

    def challenge(
        self, realm: str, source: tuple[str, int], wall_ms: int, *, proxy: bool, stale: bool = False
    ) -> Reply:
        """401, or 407 as a proxy, with one header for each algorithm (RFC 3261 §22.2, §22.3)."""
        name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
        end = ', qop="auth", stale=true' if stale else ', qop="auth"'
        begin = f'Digest realm="{realm}", nonce="{self._mint.mint(source, wall_ms)}", algorithm='
        return Reply(
            407 if proxy else 401,
            "",
            tuple([(name, f"{begin}{algorithm}{end}") for algorithm in self._settings.algorithms]),
        )

    def credentials(
        self, request: RequestView, realm: str, *, proxy: bool
    ) -> Credentials | Verdict:
        """The credentials for a realm by the algorithm we like best; else ABSENT or MALFORMED.

        Credentials for other realms are for others (RFC 3261 §22.3).
        """
        lines = request.headers("Proxy-Authorization" if proxy else "Authorization")
        best: Credentials | None = None
        best_rank = not_ours = len(self._settings.algorithms)
        for line in lines[:CREDENTIALS_MAX]:
            found = parse_credentials(line)
            if found is None:
                if is_digest(line):
                    return _MALFORMED
            elif found.realm == realm:
                rank = self._ranks.get(found.algorithm.upper(), not_ours)
                if rank < best_rank:
                    best, best_rank = found, rank
        return best or _ABSENT

    def verify(
        self, credentials: Credentials, account: Account | None, request: RequestView, wall_ms: int
    ) -> Verdict:
        """Judge a digest (RFC 7616 §3.4); no account is refused like a wrong password."""
        count = _nonce_count(credentials)
        if count is None:
            return _MALFORMED
        if account is None or not same_resource(credentials.uri, request.request_uri, self._own):
            return _REFUSED
        try:
            expected = response_of(credentials, ha1_of(account, credentials), request.method)
            given = credentials.response.encode()
        except UnicodeEncodeError:
            return _REFUSED
        if not expected or not compare_digest(expected.encode(), given):
            return _REFUSED
        stamp = self._mint.recognise(credentials.nonce, request.source)
        oldest_wall_ms = wall_ms - self._settings.nonce_lifetime_ms
        if stamp is None or issued_wall_ms(stamp) < oldest_wall_ms:
            return _STALE
        self._counts.expire(oldest_wall_ms)
        use = self._counts.judge(stamp, count, transaction_of(request), wall_ms)
        return _ACCEPTED if use <= _SAME_TRANSACTION else _STALE


def _nonce_count(credentials: Credentials) -> int | None:
    """The nonce count; 0 without qop (RFC 3261 §22.4 item 8), None where it is malformed."""
    if not credentials.qop:
        return 0
    if credentials.qop.lower() != "auth" or not credentials.cnonce:
        return None
    try:
        count = unhexlify(credentials.nc)
    except ValueError:
        return None
    return int.from_bytes(count) if len(count) == 4 else None


def ha1_of(account: Account, credentials: Credentials) -> str:
    """The HA1 that goes with the algorithm; "" where the account has none."""
    sha256_asked = credentials.algorithm.upper() == "SHA-256"
    return account.ha1_sha256 if sha256_asked else account.ha1_md5


def response_of(credentials: Credentials, ha1: str, method: str) -> str:
    """What `response` must be for an HA1 (RFC 7616 §3.4.1); "" without one."""
    c = credentials
    if not ha1:
        return ""
    return digest_response(c.algorithm, ha1, method, c.uri, c.nonce, c.cnonce, c.qop, c.nc)


def same_resource(uri: str, request_uri: str, own: OwnAddresses) -> bool:
    """Whether the `uri` of a digest is the Request-URI (RFC 3261 §22.4 item 1).

    Proxies change a Request-URI on its way: scheme, port and parameters may differ, user and host
    may not.

    Deviation: the farm's own address without a user will do for any Request-URI. Clients that know
    one server (SIPp is one) write that; their digest is then tied to method, nonce and count alone.
    """
    if uri == request_uri:
        return True
    user, host, port = _user_host_port(uri)
    if not user and own.include(host, port):
        return True
    return (user, host) == _user_host_port(request_uri)[:2]


def _user_host_port(uri: str) -> tuple[str, str, int]:
    scheme, _, rest = uri.partition(":")
    if scheme.lower() not in ("sip", "sips"):
        return ("", uri, 0)
    user, _, hostport = rest.rpartition("@")
    host = hostport.partition(";")[0].partition("?")[0].lower()
    name, colon, port = host.rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) <= 5:
        return (user, name, int(port))
    return (user, host, 0)


def hash_ha1(username: str, realm: str, password: str, algorithm: str) -> str:
    """HA1 (RFC 7616 §3.4.2)."""
    digest = _HASHES[algorithm.upper()]
    return digest(f"{username}:{realm}:{password}".encode()).hexdigest()


def answer_challenge(
    challenge: Challenge, username: str, ha1: str, request: tuple[str, str], use: tuple[str, int]
) -> Credentials:
    """A client's credentials for (method, URI), used with (cnonce, nonce count) (RFC 7616 §3.4)."""
    cnonce, count = use
    with_qop = "auth" in [option.strip() for option in challenge.qop.lower().split(",")]
    blank = Credentials(
        username=username,
        realm=challenge.realm,
        nonce=challenge.nonce,
        uri=request[1],
        response="",
        algorithm=challenge.algorithm,
        cnonce=cnonce if with_qop else "",
        qop="auth" if with_qop else "",
        nc=f"{count:08x}" if with_qop else "",
    )
    return msgspec.structs.replace(blank, response=response_of(blank, ha1, request[0]))
