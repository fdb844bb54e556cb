"""Who sends a request: digest credentials held against the accounts of a domain (RFC 3261 §22)."""

import ipaddress
from typing import Final

import msgspec

from sipfarm.base.records import Account
from sipfarm.native import Credentials, Message
from sipfarm.signaling.digest import Digest, Verdict
from sipfarm.signaling.lookups import Lookups

SOURCES_MAX: Final = 4_096


class Identity(msgspec.Struct, frozen=True):
    """What the credentials of a request show; `account` is there when they are ACCEPTED."""

    verdict: Verdict
    account: Account | None = None


NOBODY: Final = Identity(Verdict.ABSENT)
_ACCEPTED: Final = Verdict.ACCEPTED


def authenticate(
    request: Message, realm: str, digest: Digest, lookups: Lookups, *, proxy: bool
) -> Identity:
    """Judge the credentials for a domain; the username may be `alice` or `alice@domain`."""
    credentials = digest.credentials(request, realm, proxy=proxy)
    if not isinstance(credentials, Credentials):
        return Identity(credentials) if credentials else NOBODY
    name = credentials.username.removesuffix("@" + realm)
    account = lookups.addressee(realm, name)
    if not isinstance(account, Account):
        account = None
    verdict = digest.verify(credentials, account, request, lookups.wall_ms)
    return Identity(verdict, account if verdict is _ACCEPTED else None)


class TrustedSources:
    """Sources that may call without digest (`[sip] trusted`)."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        """Networks in CIDR notation; raises ValueError on anything else."""
        self._networks = tuple([ipaddress.ip_network(text) for text in networks])
        self._known: dict[str, bool] = {}

    @property
    def is_empty(self) -> bool:
        """Nobody may call without digest."""
        return not self._networks

    def include(self, host: str) -> bool:
        """Whether an address is in one of the networks."""
        if not self._networks:
            return False
        known = self._known.get(host)
        if known is None:
            known = self._look(host)
            if len(self._known) >= SOURCES_MAX:
                self._known.clear()
            self._known[host] = known
        return known

    def _look(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
