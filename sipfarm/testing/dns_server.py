"""A name server on a port of a test, over UDP: what its zone does not say does not exist."""

import socket
import threading
from types import TracebackType
from typing import Final, Self

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from sipfarm.base.net import HostPort

STOPPED_WITHIN_S: Final = 5.0
TTL_S: Final = 60


class DnsServer:
    """Its zone has lines "name type data", as a master file has (RFC 1035 §5)."""

    def __init__(self, zone: str, host: str = "127.0.0.1") -> None:
        self.asked: list[tuple[str, str]] = []
        """(name, type) of each query, in order."""
        self._records: list[dns.rrset.RRset] = []
        self.say(zone)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self.address = HostPort(host, self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def say(self, zone: str) -> None:
        """Answer from this zone from now on."""
        self._records = _records(zone)

    def _serve(self) -> None:
        while True:
            wire, source = self._socket.recvfrom(65_535)
            if not wire:
                return
            try:
                query = dns.message.from_wire(wire)
            except dns.exception.DNSException:
                continue
            self._socket.sendto(self._answer(query).to_wire(), source)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append((name, dns.rdatatype.to_text(question.rdtype)))
        of_name = [record for record in self._records if record.name == question.name]
        answer.answer += [record for record in of_name if record.rdtype == question.rdtype]
        if not of_name:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(b"", (self.address.host, self.address.port))
        self._thread.join(STOPPED_WITHIN_S)
        self._socket.close()


def _records(zone: str) -> list[dns.rrset.RRset]:
    """Lines "name type data", those of one name and type together."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in zone.strip().splitlines():
        name, kind, data = line.split(maxsplit=2)
        found.setdefault((name, kind), []).append(data)
    return [
        dns.rrset.from_text_list(f"{name}.", TTL_S, dns.rdataclass.IN, kind, data)
        for (name, kind), data in found.items()
    ]
