"""The packet log: a line for each packet, within its bounds, and what is missing is told."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sipfarm.base.errors import StartError
from sipfarm.base.net import HostPort, Listen
from sipfarm.native import Hop
from sipfarm.signaling.io import packet_log
from sipfarm.signaling.io.packet_log import PacketLog
from sipfarm.signaling.packet_lines import Packet, PacketLine, digest_of, lines_of

HERE = HostPort("127.0.0.1", 5060)
PHONE = Hop("udp", "192.0.2.1", 5061)
WALL_MS = 1_700_000_000_123
INVITE = (
    b"INVITE sip:bob@example.test SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 192.0.2.1:5061;rport;branch=z9hG4bK-1, SIP/2.0/UDP b;branch=z9hG4bK-0\r\n"
    b"i: call-1\r\n"
    b"CSeq: 1 INVITE\r\n\r\n"
    b"Call-ID: not a header field\r\n"
)


def packet(wire: bytes = INVITE, what: str = "worked_on", why: str = "none") -> Packet:
    return (what, why, 0, 0, PHONE, wire)


def one_line(packet: Packet) -> PacketLine:
    (line,) = lines_of(WALL_MS, [packet], [HERE])
    return line


def written(path: Path) -> list[PacketLine]:
    decode = msgspec.json.Decoder(PacketLine).decode
    return [decode(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PacketLog]:
    """A log of two files of 4 kB each, that is written when it is closed."""
    made = PacketLog(tmp_path / "packets.jsonl", 8_000, [HERE])
    yield made
    made.close()


def test_a_line_names_the_packet_and_what_became_of_it() -> None:
    line = one_line(("passed_on", "none", 0, 3, PHONE, INVITE))
    assert line == PacketLine(
        at="2023-11-14T22:13:20.123Z",
        what="passed_on",
        to_member=3,
        transport="udp",
        local="127.0.0.1:5060",
        remote="192.0.2.1:5061",
        start="INVITE sip:bob@example.test",
        call_id="call-1",
        cseq="1 INVITE",
        branch="z9hG4bK-1",
        length=len(INVITE),
        digest=digest_of(INVITE),
    )
    assert one_line(packet(b"SIP/2.0 200 OK\r\n\r\n")).start == "200 OK"


@pytest.mark.parametrize(
    "wire", [b"", b"\r\n\r\n", b"\x00\xff\xfe", b"Call-ID", b"\r\n:\r\nVia:\r\n"]
)
def test_garbage_has_a_line_too(wire: bytes) -> None:
    line = one_line(packet(wire, "dropped", "malformed"))
    assert (line.call_id, line.branch, line.why) == ("", "", "malformed")
    assert msgspec.json.decode(msgspec.json.encode(line), type=PacketLine) == line


def test_what_a_peer_made_is_cut() -> None:
    line = one_line(packet(INVITE.replace(b"call-1", b"x" * 10_000)))
    assert line.call_id == 256 * "x"


def test_each_packet_is_written_in_its_order(log: PacketLog, tmp_path: Path) -> None:
    log.write(WALL_MS, [packet(), packet(what="sent")])
    log.write(WALL_MS + 1, [packet(what="absorbed")])
    log.close()
    lines = written(tmp_path / "packets.jsonl")
    assert [line.what for line in lines] == ["worked_on", "sent", "absorbed"]
    assert log.lost == 0


def test_two_files_hold_no_more_than_the_bound(log: PacketLog, tmp_path: Path) -> None:
    for number in range(100):
        log.write(WALL_MS, [packet(INVITE + str(number).encode())])
    log.close()
    newer, older = tmp_path / "packets.jsonl", tmp_path / "packets.jsonl.1"
    line_bytes = len(newer.read_bytes().splitlines()[0]) + 1
    assert newer.stat().st_size <= 4_000 + line_bytes
    assert 4_000 <= older.stat().st_size <= 4_000 + line_bytes
    digests = [line.digest for line in (*written(older), *written(newer))]
    last = [digest_of(INVITE + str(number).encode()) for number in range(100)]
    assert digests == last[-len(digests) :]


def test_a_file_that_is_there_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "packets.jsonl"
    for _ in range(2):
        log = PacketLog(path, 8_000, [HERE])
        log.write(WALL_MS, [packet()])
        log.close()
    assert len(written(path)) == 2


def test_what_finds_no_room_is_counted_and_told(
    log: PacketLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packet_log, "QUEUED_MAX", 2)
    log.write(WALL_MS, [packet(), packet()])
    log.write(WALL_MS, [packet()] * 5)
    assert log.lost == 5
    log.close()
    lines = written(tmp_path / "packets.jsonl")
    assert [line.lost for line in lines] == [5, 0]


def test_a_log_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "no such folder" / "packets.jsonl"
    with (
        pytest.raises(StartError, match="cannot write the packet log"),
        packet_log.packet_log(path, 1, [Listen.parse("udp:127.0.0.1:5060")]),
    ):
        pass


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    log = PacketLog(Path("/dev/full"), 8_000, [HERE])
    log.write(WALL_MS, [packet()])
    log.close()
    assert log.lost > 0
