"""The servers that the signaling benchmarks compare: Kamailio, and one member of a farm.

Both serve UDP on one address, log nothing, and keep their registrations as they are shipped to:
Kamailio in memory, the member in its SQLite file.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, Self

import sipfarm
from loadtests.cpu import ticked_us
from sipfarm.config import SipConfig

START_WITHIN_S: Final = 20.0
STOP_WITHIN_S: Final = 10.0
PASSWORD: Final = "secret"
# SIPp 3.6.1 gives up where the first challenge is for SHA-256; a farm whose config cannot leave it
# out is not measured with digest.
CAN_DIGEST: Final = "digest" in SipConfig.__struct_fields__
MD5_ALONE: Final = 'digest = ["MD5"]' if CAN_DIGEST else ""
LOCAL: Final = '["127.0.0.0/8"]'
PYTHON_PATH: Final = [str(Path(sipfarm.__file__).parent.parent), os.environ.get("PYTHONPATH")]
ENVIRONMENT: Final = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, PYTHON_PATH))}
SIPFARM: Final = (sys.executable, "-c", "from sipfarm.cli.main import main; main()")

KAMAILIO_CONFIG: Final = """
debug=0
log_stderror=yes
fork=yes
children=1
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
maxbuffer=4194304
listen=udp:{host}:{port}
mpath="{modules}"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "hash_size", 14)
modparam("registrar", "max_contacts", 1)
modparam("auth", "qop", "auth")
modparam("auth", "nonce_expire", 60)

request_route {{
    if (!mf_process_maxfwd_header("70")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (is_method("REGISTER")) {{
        {authenticate}
        save("location");
        exit;
    }}
    if (has_totag()) {{
        if (!loose_route()) {{
            if (!is_method("ACK")) sl_send_reply("404", "Not Here");
            exit;
        }}
        t_relay();
        exit;
    }}
    record_route();
    $du = "sip:{phone_host}:{phone_port}";
    if (!t_relay()) sl_reply_error();
}}
"""

KAMAILIO_DIGEST: Final = """
        if (!pv_auth_check("$fd", "{password}", "0", "1")) {{
            auth_challenge("$fd", "1");
            exit;
        }}
        consume_credentials();
"""

MEMBER_CONFIG: Final = """
[farm]
secret = "a secret of the benchmark's own, of 32 characters and more"
store = "sqlite:store"
[member]
name = "bench"
[sip]
listen = ["udp:{host}:{port}"]
trusted = {trusted}
{digest}
[bus]
listen = "{host}:{bus_port}"
[media]
address = "{host}"
ports = "{first_media_port}-{last_media_port}"
[admin]
listen = "{host}:0"
"""


class ServerMissing(Exception):
    """A server is not installed, or does not start."""


class Server:
    """A running server: its processes, and what they have used of the CPU."""

    name: str

    def __init__(self, arguments: list[str], home: Path) -> None:
        self._home = home
        self._log = home / f"{self.name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(arguments, cwd=home, env=ENVIRONMENT,
                                             stdout=log, stderr=log)  # fmt: skip
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_us(self) -> float:
        """User and system time of all its processes so far."""
        return sum(ticked_us(pid) for pid in _family(self.pid))

    def memory_mb(self) -> float:
        """What its processes have of the memory, shared pages divided among them (PSS)."""
        return sum(_pss_kb(pid) for pid in _family(self.pid)) / 1024

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._process.send_signal(number)
            try:
                self._process.wait(timeout=STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                continue
            return

    def is_ready(self, said: str) -> bool:
        raise NotImplementedError

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.is_ready(self._said()):
                return
            time.sleep(0.02)
        raise ServerMissing(f"{self.name} does not start: {self._said()[-2_000:]}")

    def _said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Kamailio(Server):
    """One UDP worker, the fast allocator, record-routing; calls go to `phone`, by no look-up."""

    name = "kamailio"

    def __init__(
        self,
        listen: tuple[str, int],
        phone: tuple[str, int],
        *,
        digest: bool,
        pin: tuple[str, ...],
        home: Path,
    ) -> None:
        kamailio = shutil.which("kamailio")
        modules = _kamailio_modules()
        if kamailio is None or modules is None:
            raise ServerMissing("kamailio is not installed (Debian package kamailio)")
        self._listen = listen
        text = KAMAILIO_CONFIG.format(
            host=listen[0],
            port=listen[1],
            phone_host=phone[0],
            phone_port=phone[1],
            modules=modules,
            authenticate=KAMAILIO_DIGEST.format(password=PASSWORD) if digest else "",
        )
        config = home / "kamailio.cfg"
        config.write_text(text, encoding="utf-8")
        super().__init__(
            [*pin, kamailio, "-f", str(config), "-DD", "-E", "-x", "fm", "-X", "fm",
             "-m", "4096", "-M", "64", "-Y", str(home), "-P", str(home / "pid")],
            home,
        )  # fmt: skip

    def is_ready(self, said: str) -> bool:
        """All processes are forked once the socket is bound and the worker waits on it."""
        return len(_family(self.pid)) >= 4 and _is_bound(self._listen)


class Member(Server):
    """One member as `sipfarm member` runs it, with the shipped routing policy and registrar."""

    name = "sipfarm"

    def __init__(
        self,
        listen: tuple[str, int],
        *,
        digest: bool,
        pin: tuple[str, ...],
        home: Path,
        ports: tuple[int, int, int],  # bus, first and last of the media
        store: Path,
    ) -> None:
        config = home / "member.toml"
        config.write_text(_member_config(listen, ports, digest=digest), encoding="utf-8")
        for leftover in home.glob("store*"):  # the write-ahead log of the member before
            leftover.unlink()
        shutil.copyfile(store, home / "store")
        super().__init__([*pin, *SIPFARM, "member", "--config", str(config)], home)

    def is_ready(self, said: str) -> bool:
        return "ready bench" in said


def provisioned_store(home: Path, domain: str, users: list[str]) -> Path:
    """A store that holds the users, made by `sipfarm provision`."""
    lines = ["[[domain]]", f'name = "{domain}"']
    for user in users:
        lines += ["[[domain.account]]", f'name = "{user}"', f'password = "{PASSWORD}"']
    (home / "provision.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = _member_config(("127.0.0.1", 5060), (5070, 20_000, 20_099), digest=False)
    (home / "member.toml").write_text(config, encoding="utf-8")
    command = [*SIPFARM, "provision", "provision.toml", "--config", "member.toml", "--json"]
    done = subprocess.run(
        command, cwd=home, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ServerMissing(f"sipfarm provision: {done.stderr[-2_000:]}")
    return home / "store"


def _member_config(listen: tuple[str, int], ports: tuple[int, int, int], *, digest: bool) -> str:
    return MEMBER_CONFIG.format(
        host=listen[0],
        port=listen[1],
        bus_port=ports[0],
        first_media_port=ports[1],
        last_media_port=ports[2],
        trusted="[]" if digest else LOCAL,
        digest=MD5_ALONE if digest else "",
    )


def _kamailio_modules() -> str | None:
    found = sorted(Path("/usr").glob("lib*/**/kamailio/modules"))
    return f"{found[0]}/" if found else None


def _family(pid: int) -> list[int]:
    """A process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [pid, *[one for child in children.split() for one in _family(int(child))]]


def _pss_kb(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def _is_bound(address: tuple[str, int]) -> bool:
    packed = "".join(f"{int(part):02X}" for part in reversed(address[0].split(".")))
    wanted = f"{packed}:{address[1]:04X}"
    lines = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    return any(line.split()[1] == wanted for line in lines)


def temporary_home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bench-signaling-")
