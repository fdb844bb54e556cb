"""The next hop by DNS (RFC 3263): SRV where a name has no port, then addresses, best first."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.resolver
import msgspec
from dns.rdtypes.IN.SRV import SRV

from sipfarm.base.ids import Entropy

LIFETIME_S: Final = 4.0  # of one query, retries of the resolver included
ADDRESSES_MAX: Final = 16
DEFAULT_PORTS: Final = {"tls": 5061, "wss": 443, "ws": 80}
SRV_NAMES: Final = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}


class Candidate(msgspec.Struct, frozen=True):
    """One address to try; IPv6 without brackets."""

    host: str
    port: int


class Resolver:
    """Asks DNS for services, and the machine (its hosts file, then DNS) for addresses."""

    def __init__(
        self, entropy: Entropy, resolver: dns.asyncresolver.Resolver | None = None
    ) -> None:
        self._entropy = entropy
        self._dns = resolver

    async def locate(self, host: str, port: int, transport: str) -> Sequence[Candidate]:
        """Addresses for a host, best first; none where it has none or DNS does not answer.

        Port 0 stands for none: then SRV is asked first (RFC 3263 §4.2). A transport that the URI
        named is kept, so NAPTR is not asked.
        """
        found: list[Candidate] = []
        for name, at in await self._services(host, port, transport):
            found += [Candidate(address, at) for address in await self._addresses(name)]
            if len(found) >= ADDRESSES_MAX:
                break
        return found[:ADDRESSES_MAX]

    async def _services(self, host: str, port: int, transport: str) -> list[tuple[str, int]]:
        fallback = [(host, port or DEFAULT_PORTS.get(transport, 5060))]
        prefix = SRV_NAMES.get(transport)
        if port or prefix is None:
            return fallback
        records = await self._query_services(f"{prefix}.{host}")
        if not records:
            return fallback
        return [
            (record.target.to_text(omit_final_dot=True), record.port)
            for record in self._in_order(records)
        ]

    def _in_order(self, records: list[SRV]) -> list[SRV]:
        """By priority, and within one at random by weight (RFC 2782)."""
        ordered: list[SRV] = []
        waiting = sorted(records, key=lambda record: (record.priority, record.weight))
        while waiting:
            priority = waiting[0].priority
            group = [record for record in waiting if record.priority == priority]
            waiting = waiting[len(group) :]
            while group:
                total = sum(record.weight for record in group)
                draw = int.from_bytes(self._entropy.token_bytes(4)) % (total + 1)
                for record in group:
                    draw -= record.weight
                    if draw <= 0:
                        ordered.append(record)
                        group.remove(record)
                        break
        return ordered

    async def _addresses(self, name: str) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LIFETIME_S):
                found = await loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError):
            return []
        return list(dict.fromkeys([str(address[4][0]) for address in found]))

    async def _query_services(self, name: str) -> list[SRV]:
        try:
            if self._dns is None:
                self._dns = dns.asyncresolver.Resolver()
                self._dns.cache = dns.resolver.LRUCache()
            answer = await self._dns.resolve(name, "SRV", lifetime=LIFETIME_S, search=True)
        except (dns.exception.DNSException, OSError):
            return []
        return [record for record in answer if isinstance(record, SRV)]
