"""The next hop by DNS (RFC 3263): NAPTR for the transport, SRV for the port, then addresses."""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import dns.asyncresolver
import dns.exception
import dns.inet
import dns.nameserver
import dns.resolver
import msgspec
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from sipfarm.base.ids import Entropy
from sipfarm.base.net import HostPort, Listen

LIFETIME_S: Final = 4.0  # of one query, retries of the resolver included
ADDRESSES_MAX: Final = 16
RECORDS_MAX: Final = 16  # of one answer
DEFAULT_PORTS: Final = {"tls": 5061, "wss": 443, "ws": 80}
SRV_NAMES: Final = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
NAPTR_SERVICES: Final = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}


_Record = TypeVar("_Record", SRV, NAPTR)


class Candidate(msgspec.Struct, frozen=True):
    """One address to try; IPv6 without brackets."""

    host: str
    port: int
    transport: str


class _Service(msgspec.Struct, frozen=True):
    """A server by name."""

    host: str
    port: int
    transport: str


class Resolver:
    """Asks DNS for services, and for addresses the machine (its hosts file, then DNS), or where
    `nameservers` are given those alone.
    """

    def __init__(
        self,
        entropy: Entropy,
        listens: Iterable[Listen],
        nameservers: Sequence[HostPort] = (),
    ) -> None:
        """`listens`: by what this member can send."""
        self._entropy = entropy
        self._ways = {(listen.transport.value, ":" in listen.address.host) for listen in listens}
        self._transports = [name for name in SRV_NAMES if name in {way[0] for way in self._ways}]
        self._nameservers = nameservers
        self._dns: dns.asyncresolver.Resolver | None = None

    async def locate(
        self, host: str, port: int, transport: str, *, chosen: bool = True
    ) -> Sequence[Candidate]:
        """Addresses for a host, best first; none where it has none or DNS does not answer.

        Port 0 stands for none: then SRV is asked (RFC 3263 §4.2), and before it NAPTR where the URI
        has not `chosen` the transport (§4.1). Otherwise the transport stays as it is given.
        """
        found: list[Candidate] = []
        for service in await self._services(host, port, transport, chosen=chosen):
            found += [
                Candidate(address, service.port, service.transport)
                for address in await self._addresses(service.host)
                if (service.transport, ":" in address) in self._ways
            ]
            if len(found) >= ADDRESSES_MAX:
                break
        return found[:ADDRESSES_MAX]

    async def _services(
        self, host: str, port: int, transport: str, *, chosen: bool
    ) -> list[_Service]:
        fallback = [_Service(host, port or DEFAULT_PORTS.get(transport, 5060), transport)]
        if port or transport not in SRV_NAMES:
            return fallback
        if chosen:
            asked = [(f"{SRV_NAMES[transport]}.{host}", transport)]
        else:
            asked = await self._by_naptr(host, transport) or [
                (f"{SRV_NAMES[usable]}.{host}", usable) for usable in self._usable(transport)
            ]
        answers = await asyncio.gather(*[self._by_srv(name, by) for name, by in asked])
        return [service for answer in answers for service in answer] or fallback

    def _usable(self, transport: str) -> list[str]:
        """What may be chosen instead; a sips URI, whose transport is tls, keeps to it."""
        return ["tls"] if transport == "tls" else self._transports

    async def _by_naptr(self, host: str, transport: str) -> list[tuple[str, str]]:
        """The names of SRV records and their transports, in the domain's order."""
        usable = self._usable(transport)
        found = [
            (record.order, record.preference, record.replacement, by)
            for record in await self._query(host, NAPTR)
            if record.flags.lower() == b"s"
            and (by := NAPTR_SERVICES.get(record.service.decode("ascii", "replace").upper()))
            in usable
        ]
        found.sort(key=lambda record: record[:2])
        return [(name.to_text(omit_final_dot=True), by) for _, _, name, by in found]

    async def _by_srv(self, name: str, transport: str) -> list[_Service]:
        return [
            _Service(record.target.to_text(omit_final_dot=True), record.port, transport)
            for record in self._in_order(await self._query(name, SRV))
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
        if dns.inet.is_address(name):
            return [name]
        if self._nameservers:
            return await self._addresses_by_dns(name)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LIFETIME_S):
                found = await loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError):
            return []
        texts = dict.fromkeys([str(address[4][0]) for address in found])
        return [text for text in texts if "%" not in text]  # of a link, not of a farm

    async def _addresses_by_dns(self, name: str) -> list[str]:
        try:
            answers = await self._ready().resolve_name(name, lifetime=LIFETIME_S)
        except (dns.exception.DNSException, OSError):
            return []
        return list(answers.addresses())

    async def _query(self, name: str, kind: type[_Record]) -> list[_Record]:
        try:
            answer = await self._ready().resolve(
                name, kind.__name__, lifetime=LIFETIME_S, search=True
            )
        except (dns.exception.DNSException, OSError):
            return []
        return [record for record in answer if isinstance(record, kind)][:RECORDS_MAX]

    def _ready(self) -> dns.asyncresolver.Resolver:
        if self._dns is None:
            self._dns = dns.asyncresolver.Resolver(configure=not self._nameservers)
            self._dns.cache = dns.resolver.LRUCache()
            if self._nameservers:
                self._dns.nameservers = [
                    dns.nameserver.Do53Nameserver(server.host, server.port)
                    for server in self._nameservers
                ]
        return self._dns
