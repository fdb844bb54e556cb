"""Writes the packet log of a member: on a thread of its own, bounded in memory and on disk."""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from sipfarm.base.errors import StartError
from sipfarm.base.net import HostPort, Listen
from sipfarm.signaling.packet_lines import Packet, PacketLine, lines_of

FLUSH_S: Final = 0.05
QUEUED_MAX: Final = 20_000
QUEUED_BYTES_MAX: Final = 32 << 20
OLDER: Final = ".1"


class PacketLog:
    """One file of JSON lines, and the one before it. `write` neither waits nor fails: what finds
    no room is counted, and the next line says how much is missing.
    """

    def __init__(self, path: Path, bytes_max: int, listens: Sequence[HostPort]) -> None:
        """`bytes_max` of both files together. Raises OSError."""
        self._path = path
        self._older = path.with_name(path.name + OLDER)
        self._file_bytes_max = bytes_max // 2
        self._listens = tuple(listens)
        self._file = path.open("ab")
        self._encoder = msgspec.json.Encoder()
        self._lock = threading.Lock()
        self._queue: list[tuple[int, list[Packet]]] = []
        self._queued = 0
        self._queued_bytes = 0
        self.lost = 0
        """Packets without a line."""
        self._lost_told = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="packet-log", daemon=True)
        self._thread.start()

    def write(self, wall_ms: int, packets: list[Packet]) -> None:
        """Queue the packets of one turn."""
        length = sum([len(packet[-1]) for packet in packets])
        with self._lock:
            too_many = self._queued + len(packets) > QUEUED_MAX
            if too_many or self._queued_bytes + length > QUEUED_BYTES_MAX:
                self.lost += len(packets)
                return
            self._queue.append((wall_ms, packets))
            self._queued += len(packets)
            self._queued_bytes += length

    def close(self) -> None:
        """Write what is queued, and close the file."""
        self._closing.set()
        self._thread.join()
        try:
            self._file.close()
        except OSError:
            self._lose(1)

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            turns, lost = self._queue, self.lost - self._lost_told
            self._queue, self._queued, self._queued_bytes = [], 0, 0
        for wall_ms, packets in turns:
            for line in lines_of(wall_ms, packets, self._listens):
                lost = self._write_line(line, lost)
        try:
            self._file.flush()
        except OSError:
            self._lose(1)

    def _write_line(self, line: PacketLine, lost: int) -> int:
        """How many lost packets are still to be told of."""
        told = msgspec.structs.replace(line, lost=lost) if lost else line
        try:
            self._make_room()
            self._file.write(self._encoder.encode(told) + b"\n")
        except OSError:
            self._lose(1)
            return lost + 1
        self._lost_told += lost
        return 0

    def _make_room(self) -> None:
        if self._file.tell() < self._file_bytes_max:
            return
        with suppress(FileNotFoundError):  # somebody moved it
            self._path.replace(self._older)
        full, self._file = self._file, self._path.open("ab")
        full.close()

    def _lose(self, count: int) -> None:
        with self._lock:
            self.lost += count


@contextmanager
def packet_log(
    path: Path | None, megabytes_max: int, listens: Sequence[Listen]
) -> Generator[PacketLog | None]:
    """A log as long as the block lasts; None without a path. Raises StartError."""
    if path is None:
        yield None
        return
    try:
        log = PacketLog(path, megabytes_max * 1_000_000, [listen.address for listen in listens])
    except OSError as error:
        raise StartError(f"cannot write the packet log {path}: {error.strerror}") from error
    try:
        yield log
    finally:
        log.close()
