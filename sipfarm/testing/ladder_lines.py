"""The whole wire as a ladder: a line for each datagram, and for each thing members tell another."""

from collections.abc import Callable

from sipfarm.testing.checkers import bus_messages
from sipfarm.testing.farm import FARM, MemberWatcher, SimFarm
from sipfarm.testing.net import Endpoint, Passage
from sipfarm.testing.sim_member import SimMember
from sipfarm.testing.wire_text import WireText


class LadderWriter(MemberWatcher):
    """Writes down what passes, by the names of phones and members."""

    def __init__(
        self,
        farm: SimFarm,
        write: Callable[[str], None],
        *,
        since_ms: int = 0,
        whole: bool = False,
    ) -> None:
        self._farm = farm
        self._write = write
        self._since_ms = since_ms
        self._whole = whole
        self._sender = ""
        farm.watch(self)
        farm.net.watch(self._passed)

    def datagram(self, member: SimMember, destination: Endpoint, data: bytes) -> None:
        self._sender = member.name

    def frames(self, member: SimMember, number: int, payload: bytes) -> None:
        names = {known.record.number: known.name for known in self._farm.members.values()}
        for message in bus_messages(payload):
            told = message.kind
            if message.packet:
                told += f" {self._told(WireText(message.packet))}"
            self._line(member.name, names.get(number, str(number)), f"[{told}]", "")

    def _passed(self, passage: Passage) -> None:
        source = self._name(passage.source)
        if passage.source == FARM:
            source = self._sender
        fate = "" if passage.arrivals_ms else "(lost)"
        if len(passage.arrivals_ms) > 1:
            fate = f"(arrives {len(passage.arrivals_ms)} times)"
        told = self._told(WireText(passage.data))
        self._line(source, self._name(passage.destination), told, fate)
        if self._whole:
            text = passage.data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").rstrip()
            self._write("\n".join([f"        | {line}".rstrip() for line in text.split("\n")]))

    def _line(self, source: str, destination: str, told: str, fate: str) -> None:
        now_ms = self._farm.clock.now_ms() - self._since_ms
        self._write(f"{now_ms:6} {source:>8} > {destination:<8} {told} {fate}".rstrip())

    def _told(self, message: WireText) -> str:
        to = f" {message.request_uri}" if message.is_request else ""
        what = message.method if message.is_request else f"{message.status} {message.method}"
        return f"{what} {message.cseq} {message.call_id}{to}"

    def _name(self, endpoint: Endpoint) -> str:
        if endpoint == FARM:
            return "farm"
        for phone in self._farm.phones.values():
            if phone.address == endpoint:
                return phone.name
        return f"{endpoint[0]}:{endpoint[1]}"
