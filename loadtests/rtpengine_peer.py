"""rtpengine in userspace as the peer of the media benchmarks, driven over its ng protocol."""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, Self, TypeAlias

START_WITHIN_S = 10.0
ANSWER_WITHIN_S = 2.0
REPLY_BYTES_MAX = 65_535

Bencodable: TypeAlias = "str | int | list[Bencodable] | dict[str, Bencodable]"


class Coding(NamedTuple):
    """How one end of a call codes its sound; `transcode` is how the daemon is asked for it."""

    name: str
    rtpmap: str
    payload_type: int
    transcode: str


PCMU = Coding("PCMU", "PCMU/8000", 0, "PCMU")


class PeerMissing(Exception):
    """The peer is not installed, or does not start."""


def bencode(value: Bencodable) -> bytes:
    match value:
        case str():
            text = value.encode()
            return b"%d:%s" % (len(text), text)
        case int():
            return b"i%de" % value
        case list():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case dict():
            items = sorted(value.items())
            return b"d" + b"".join(bencode(key) + bencode(item) for key, item in items) + b"e"


def bdecode(data: bytes) -> Bencodable:
    """The one value that `data` is."""
    value, rest = _bdecode_first(data)
    if rest:
        raise ValueError("bytes after the bencoded value")
    return value


def _bdecode_first(data: bytes) -> tuple[Bencodable, bytes]:
    kind = data[:1]
    if kind == b"i":
        digits, _, rest = data[1:].partition(b"e")
        return int(digits), rest
    if kind in (b"l", b"d"):
        items: list[Bencodable] = []
        rest = data[1:]
        while not rest.startswith(b"e"):
            item, rest = _bdecode_first(rest)
            items.append(item)
        if kind == b"d":
            return dict(zip(map(str, items[::2]), items[1::2], strict=True)), rest[1:]
        return items, rest[1:]
    digits, _, rest = data.partition(b":")
    length = int(digits)
    return rest[:length].decode(), rest[length:]


class Rtpengine:
    """One daemon without its kernel module, relaying on `address`."""

    def __init__(
        self,
        *,
        address: str,
        ports: tuple[int, int],
        control_port: int,
        threads: int,
        pin: tuple[str, ...] = (),
    ) -> None:
        daemon = shutil.which("rtpengine")
        if daemon is None:
            raise PeerMissing("rtpengine is not installed (Debian package rtpengine-daemon)")
        self._home = tempfile.TemporaryDirectory(prefix="rtpengine-")
        self._log = Path(self._home.name, "log")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((address, control_port))
        self._cookie = 0
        arguments = [
            *pin, daemon, "--config-file=none", "--foreground", "--table=-1", "--log-stderr",
            "--log-level=3", f"--interface={address}", f"--listen-ng={address}:{control_port}",
            f"--port-min={ports[0]}", f"--port-max={ports[1]}", f"--num-threads={threads}",
        ]  # fmt: skip
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(arguments, cwd=self._home.name, stdout=log, stderr=log)
        try:
            self._await_pong()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def relay(
        self,
        call_id: str,
        caller: tuple[str, int],
        callee: tuple[str, int],
        codings: tuple[Coding, Coding] = (PCMU, PCMU),
    ) -> tuple[int, int]:
        """Offer and answer one call; the relay's ports towards the caller and the callee.

        Where their codings differ the daemon converts.
        """
        near, far = codings
        offer: dict[str, Bencodable] = {
            "command": "offer", "call-id": call_id, "from-tag": "a", "sdp": _sdp(*caller, near),
        }  # fmt: skip
        if near != far:
            offer["codec"] = {"mask": [near.name], "transcode": [far.transcode]}
        offered = self._command(offer)
        number = _payload_type(offered, far)
        answered = self._command(
            {"command": "answer", "call-id": call_id, "from-tag": "a", "to-tag": "b",
             "sdp": _sdp(*callee, far._replace(payload_type=number))}
        )  # fmt: skip
        return _audio_port(answered), _audio_port(offered)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._socket.close()
        self._home.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _await_pong(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self._command({"command": "ping"}, patience_s=0.1)
            except OSError:
                continue
            return
        said = self._log.read_text(encoding="utf-8", errors="replace")
        raise PeerMissing(f"rtpengine does not start: {said[-2_000:]}")

    def _command(self, request: dict[str, Bencodable], patience_s: float = ANSWER_WITHIN_S) -> str:
        """Send a command; the `sdp` of its reply, if there is one."""
        self._cookie += 1
        cookie = b"%d " % self._cookie
        self._socket.settimeout(patience_s)
        self._socket.send(cookie + bencode(request))
        while True:
            reply = self._socket.recv(REPLY_BYTES_MAX)
            if reply.startswith(cookie):
                break
        values = bdecode(reply[len(cookie) :])
        if not isinstance(values, dict) or values.get("result") not in ("ok", "pong"):
            raise PeerMissing(f"rtpengine refused {request['command']}: {values}")
        return str(values.get("sdp", ""))


def _payload_type(sdp: str, coding: Coding) -> int:
    """The number that the daemon offers the coding with."""
    wanted = f" {coding.name}/".lower()
    for line in sdp.splitlines():
        if line.startswith("a=rtpmap:") and wanted in line.lower():
            return int(line.removeprefix("a=rtpmap:").split()[0])
    raise PeerMissing(f"rtpengine does not offer {coding.name}: {sdp}")


def _sdp(host: str, port: int, coding: Coding) -> str:
    lines = (
        "v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0",
        f"m=audio {port} RTP/AVP {coding.payload_type}",
        f"a=rtpmap:{coding.payload_type} {coding.rtpmap}", "",
    )  # fmt: skip
    return "\r\n".join(lines)


def _audio_port(sdp: str) -> int:
    line = next(line for line in sdp.splitlines() if line.startswith("m=audio "))
    return int(line.split()[1])
