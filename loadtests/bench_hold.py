"""How many relayed calls does one process hold at once, and with how many open files?

Opens the calls at our relay as fast as it takes them, under the open-file limit given, then sends
one RTP packet through each in each direction and looks at who it comes from. Counted meanwhile:
descriptors of the relay, its resident memory, and what the kernel keeps for sockets and files.

    python -m loadtests.bench_hold --calls 9000 --open-files 20000 --json FILE
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from loadtests.cpu import model_name
from loadtests.native_programs import build_programs

RELAY_HOST: Final = "127.0.0.3"
PHONE_HOST: Final = "127.0.0.2"
RELAY_PORTS: Final = (20_000, 65_535)
PACKETS_PER_TURN: Final = 32  # sent before they are awaited
PATIENCE_S: Final = 5.0
MIB: Final = 1 << 20
RTP_HEADER: Final = b"\x80\x00\x00\x01\x00\x00\x00\xa0\x11\x22\x33\x44"


class Held:
    """The relay with its calls open."""

    def __init__(self, command: list[str], calls: int, open_files: int) -> None:
        self.caller, self.callee = _phone(), _phone()
        before = _kernel_bytes()
        began_s = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (open_files,) * 2),
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        ends = (self.caller.getsockname(), self.callee.getsockname())
        line = " ".join(f"{host} {port}" for host, port in ends)
        self.process.stdin.write(f"{line}\n" * calls + "\n")
        self.process.stdin.flush()
        self.ports: list[tuple[int, int]] = []
        for answer in self.process.stdout:
            if answer == "ready\n":
                break
            a, b = answer.split()
            self.ports.append((int(a), int(b)))
        self.opened_s = time.monotonic() - began_s
        self.kernel_bytes = _kernel_bytes() - before

    def pass_packets(self) -> int:
        """Send one packet through each call in each direction; how many arrived as they should."""
        return self._pass(self.caller, self.callee, lambda ports: ports) + self._pass(
            self.callee, self.caller, lambda ports: (ports[1], ports[0])
        )

    def _pass(
        self,
        sender: socket.socket,
        receiver: socket.socket,
        way: Callable[[tuple[int, int]], tuple[int, int]],
    ) -> int:
        arrived = 0
        for first in range(0, len(self.ports), PACKETS_PER_TURN):
            ways = [way(ports) for ports in self.ports[first : first + PACKETS_PER_TURN]]
            for into, out_of in ways:
                sender.sendto(RTP_HEADER + out_of.to_bytes(2), (RELAY_HOST, into))
            for _ in ways:
                try:
                    data, source = receiver.recvfrom(2_048)
                except TimeoutError:
                    return arrived
                arrived += source == (RELAY_HOST, int.from_bytes(data[len(RTP_HEADER) :]))
        return arrived

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize()

    def end(self) -> dict[str, object]:
        """Stop the relay; its own totals."""
        with self.caller, self.callee:
            return json.loads(self.process.communicate()[0] or "{}")


def _phone() -> socket.socket:
    phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    phone.bind((PHONE_HOST, 0))
    phone.settimeout(PATIENCE_S)
    return phone


def _kernel_bytes() -> int:
    """What the kernel has in its caches of objects: sockets, files, filters."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Slab:")) * 1_024


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=9_000)
    parser.add_argument("--open-files", type=int, default=20_000, help="limit of the relay")
    parser.add_argument("--threads", type=int, default=1, help="worker threads of the relay")
    parser.add_argument("--sockets", choices=("auto", "per_port", "steered"), default="auto")
    parser.add_argument("--programs", type=Path, help="where relay_server is built")
    parser.add_argument("--json", default="", help="also write the results here; - is stdout")
    given = parser.parse_args(arguments)
    program = (
        given.programs / "relay_server"
        if given.programs
        else build_programs("relay_server")["relay_server"]
    )
    settings = (RELAY_HOST, *RELAY_PORTS, given.threads, 1_000, given.sockets)
    held = Held([str(program), *map(str, settings)], given.calls, given.open_files)
    record: dict[str, object] = {
        "benchmark": "hold",
        "cpu": model_name(),
        "calls": len(held.ports),
        "opened_s": round(held.opened_s, 2),
        "open_files_allowed": given.open_files,
        "descriptors": held.descriptors(),
        "packets_sent": 2 * len(held.ports),
        "packets_arrived": held.pass_packets(),
        "resident_mib": round(held.resident_bytes() / MIB, 1),
        "kernel_mib": round(held.kernel_bytes / MIB, 1),
    }
    record["totals"] = held.end()
    for name, value in record.items():
        print(f"{name:<20} {value}")
    if given.json == "-":
        print(json.dumps(record))
    elif given.json:
        Path(given.json).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0 if len(held.ports) == given.calls else 1


if __name__ == "__main__":
    sys.exit(main())
