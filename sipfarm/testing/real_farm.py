"""A farm of real processes, on loopback addresses that no other test has.

A leased port P between 10,000 and 32,767 makes the network 127.(P / 256).(P mod 256).0/24 ours: the
farm is its host 1, hosts 64 to 127 are trusted sources, the others are phones.
"""

import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from sipfarm.admin.face import NotReached
from sipfarm.admin.io.client import AdminClient, Refused
from sipfarm.admin.views import CallView, MemberView, RegistrationView
from sipfarm.base.net import HostPort
from sipfarm.config import Balancing
from sipfarm.signaling.packet_lines import PacketLine
from sipfarm.testing.eventually import eventually
from sipfarm.testing.ports import PortLease
from sipfarm.testing.processes import Child, Children
from sipfarm.testing.sockets import children_of

DOMAIN: Final = "example.test"
NAMED_USERS: Final = ("alice", "bob", "tardy")
PHONES_MAX: Final = 100
"""Accounts p0 … that no test has used yet."""
COMMAND: Final = (sys.executable, "-m", "sipfarm.cli.main")
MEMBERS_MAX: Final = 3
MEDIA_FIRST: Final = 33_000
MEDIA_PORTS: Final = 9_000
"""For each member."""
READY_WITHIN_S: Final = 40.0
CALLS_END_WITHIN_S: Final = 10.0
TRANSACTIONS_END_WITHIN_S: Final = 45.0  # 32 s of timers over UDP (RFC 3261 §17, RFC 6026)
SAMPLE: Final = re.compile(r'(\w+)\{(?:[^}]*,)?member="([^"]+)"[^}]*\} (\S+)')


class FarmOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a farm is to be like."""

    members: int = 1
    apart: bool = False
    """Each member listens at an address of its own, behind a balancer that rewrites addresses."""
    balancer_is_trusted: bool = True
    """Who comes through a balancer that rewrites addresses may call without digest."""
    digest: tuple[str, ...] = ("SHA-256", "MD5")
    """By what is asked, best first; SIPp 3.6 gives up unless MD5 is."""
    supervised: bool = True
    """`sipfarm run` starts the members, and kills and restarts the silent; else nobody does."""
    balancing: Balancing = "packet"
    routing: str = "sipfarm.testing.impatient_policy:impatient_policy"
    media_mode: str = "relay"
    nameservers: tuple[HostPort, ...] = ()
    drain_deadline_s: int = 3
    restart: bool = True
    packet_log: bool = False
    """Each member writes down what became of each packet."""
    store: str = "sqlite:farm.db"
    srtp: str = "off"
    """Of the domain."""
    protect: str = ""
    """Lines of the section: without any, loopback is exempt, and with it all tests are."""


class RealFarm:
    """`sipfarm run` on free addresses; or one `sipfarm member` for each member."""

    def __init__(
        self, children: Children, lease: PortLease, folder: Path, options: FarmOptions
    ) -> None:
        self.options = options
        self._single = options.apart or not options.supervised
        self.folder = folder
        self._children = children
        self._port = lease.first
        self.listen = HostPort(self.host(1), self._port)
        """The public address: the farm's, or the balancer's before it."""
        self.addresses = [self.listen] * options.members
        """Where each member listens."""
        if options.apart:
            self.addresses = [
                HostPort(self.host(2 + index), self._port) for index in range(options.members)
            ]
        self._processes: list[Child] = []
        self._users_given = 0
        self.names = [f"m{index + 1}" for index in range(options.members)]
        self._provision()
        self.start()

    def start(self) -> None:
        """Start its members, with the store as it is; after `end`, if they have run."""
        if self._single:
            self._start_single()
        else:
            self._start_together()
        self.first_pids = {member.name: member.pid for member in self.members()}

    def host(self, number: int) -> str:
        """An address of the network that is this farm's alone."""
        return f"127.{self._port >> 8}.{self._port & 255}.{number}"

    def trusted(self, number: int, port: int = 5060) -> HostPort:
        """An address that may call without digest."""
        return HostPort(self.host(64 + number), port)

    def untrusted(self, number: int, port: int = 5060) -> HostPort:
        """An address that may not."""
        return HostPort(self.host(128 + number), port)

    def unused_user(self) -> str:
        """An account that has no binding."""
        self._users_given += 1
        return f"p{self._users_given - 1}"

    @property
    def process(self) -> Child:
        """The supervisor, or the first member where there is none."""
        return self._processes[0]

    def pids(self) -> list[int]:
        """The members' processes that run now."""
        if self._single:
            return [child.pid for child in self._processes if child.exit_status is None]
        return children_of(self.process.pid)

    def admin(self, name: str) -> AdminClient:
        """A member's own API."""
        return AdminClient(f"{self.host(1)}:{self._port + 1 + int(name[1:])}")

    def members(self, asked: str = "") -> list[MemberView]:
        """The farm's members, as one of them sees it."""
        return self._asked(asked).get("/api/v1/members", list[MemberView])

    def calls(self) -> list[CallView]:
        return self._asked().get("/api/v1/calls?farm=1", list[CallView])

    def registrations(self, together: int = 1_000) -> list[RegistrationView]:
        """All bindings, asked for so many at a time."""
        path, kind = "/api/v1/registrations", list[RegistrationView]
        return self._asked().pages(path, {}, kind, 1_000_000, together=together)

    def drain(self, name: str, asked: str = "") -> MemberView:
        return self._asked(asked).post(f"/api/v1/members/{name}/drain", MemberView)

    def undrain(self, name: str, asked: str = "") -> MemberView:
        return self._asked(asked).post(f"/api/v1/members/{name}/undrain", MemberView)

    def metrics(self, name: str) -> dict[str, float]:
        """A member's samples by name; those of one family are added up."""
        text = self.admin(name).exchange("GET", "/metrics").body.decode()
        found: dict[str, float] = {}
        for sample in SAMPLE.finditer(text):
            family = sample[1].removesuffix("_total")
            found[family] = found.get(family, 0.0) + float(sample[3])
        return found

    def packet_lines(self, name: str) -> list[PacketLine]:
        """What a member has written in its packet log so far."""
        lines = (self.folder / f"packets-{name}.jsonl").read_bytes().splitlines(keepends=True)
        decode = msgspec.json.Decoder(PacketLine).decode
        return [decode(line) for line in lines if line.endswith(b"\n")]

    def total(self, metric: str) -> float:
        """A sample, added up over the members."""
        return sum(self.metrics(name).get(metric, 0.0) for name in self.names)

    def wait_calls_over(self) -> None:
        """Until no member has a call or a media port of one."""
        self._wait_empty(
            ("sipfarm_sip_calls", "sipfarm_task_calls", "sipfarm_media_ports_taken"),
            CALLS_END_WITHIN_S,
        )

    def wait_at_rest(self) -> None:
        """Until no table of any member has anything in it."""
        self.wait_calls_over()
        tables = ("server_transactions", "client_transactions", "forks", "calls")
        self._wait_empty(
            (*(f"sipfarm_sip_{table}" for table in tables), "sipfarm_media_streams"),
            TRANSACTIONS_END_WITHIN_S,
        )

    def wait_for(self, states: Mapping[str, str], within_s: float, asked: str = "") -> None:
        """Until the members, as one of them sees it, are in these states."""
        eventually(
            lambda: self._states(asked) == dict(states),
            f"members are {dict(states)}",
            within_s,
            lambda: self._states(asked),
        )

    def wait_view_without(self, name: str, within_s: float, pid: int = 0) -> None:
        """Until the others know that a member (its first process, or this one) is dead, or has
        begun a new life.
        """
        old_pid = pid or self.first_pids[name]
        others = [other for other in self.names if other != name]

        def is_right(asked: str) -> bool:
            try:
                seen = {member.name: member for member in self.members(asked)}
            except (NotReached, Refused):
                return False
            gone = seen.get(name)
            return gone is None or gone.state == "dead" or gone.pid != old_pid

        eventually(
            lambda: all(is_right(other) for other in others),
            f"{others} see that {name} is dead",
            within_s,
            lambda: {other: self._states(other) for other in others},
        )

    def end(self) -> None:
        """Stop it at once: SIGTERM drains, a second one does not."""
        for child in self._processes:
            mark = child.line_count
            child.send(signal.SIGTERM)
            child.wait_for_line(r"event=(farm_stopping|member_draining)", after=mark)
            child.send(signal.SIGTERM)
        for child in self._processes:
            child.wait()

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a member a signal; its process."""
        pid = next(member.pid for member in self.members() if member.name == name)
        os.kill(pid, number)
        return pid

    def _states(self, asked: str) -> dict[str, str]:
        try:
            return {member.name: member.state for member in self.members(asked)}
        except (NotReached, Refused):
            return {}

    def _wait_empty(self, tables: tuple[str, ...], within_s: float) -> None:
        def left() -> dict[str, float]:
            held: dict[str, float] = {}
            for name in self.names:
                samples = self.metrics(name)
                held |= {f"{name} {table}": samples[table] for table in tables if samples[table]}
            return held

        eventually(lambda: not left(), "the members have nothing left of", within_s, left)

    def _asked(self, name: str = "") -> AdminClient:
        """A member's API, or the one that answers for the farm."""
        if name or self._single:
            return self.admin(name or self.names[0])
        return AdminClient(f"{self.host(1)}:{self._port + 1}")

    def _provision(self) -> None:
        accounts = "".join(
            f'[[domain.account]]\nname = "{user}"\npassword = "{user}-secret"\n'
            for user in (*NAMED_USERS, *(f"p{number}" for number in range(PHONES_MAX)))
        )
        applications = '[[domain.application]]\nname = "echo"\nnumbers = ["600"]\n'
        head = f'[[domain]]\nname = "{DOMAIN}"\nsrtp = "{self.options.srtp}"\n'
        self.provision(f"{head}{accounts}{applications}")

    def provision(self, toml: str) -> None:
        """Load a file of domains into the store; members are told nothing."""
        file = self.folder / "provision.toml"
        file.write_text(toml, encoding="utf-8")
        config = self._config(0)
        loaded = Child([*COMMAND, "provision", file, "--config", config])
        if loaded.wait(READY_WITHIN_S):
            raise AssertionError(f"no provisioning:\n{loaded.tail()}")

    def _start_together(self) -> None:
        options = self.options
        command = [*COMMAND, "run", "--config", self._config(0), "--data", self.folder / "data"]
        command += ["--members", str(options.members)]
        command += [] if options.restart else ["--no-restart"]
        self._processes = [
            self._children.start(command, ready=r"^ready ", timeout_s=READY_WITHIN_S)
        ]

    def _start_single(self) -> None:
        self._processes = []
        for index in range(self.options.members):
            command = [*COMMAND, "member", "--config", self._config(index)]
            self._processes.append(self._children.start(command))
        for child in self._processes:
            child.wait_for_line(r"^ready ", READY_WITHIN_S)

    def _config(self, index: int) -> Path:
        """Of one member that runs by itself, or of the farm that shares it out."""
        apart, single = self.options.apart, self._single
        sip = self.addresses[index]
        admin_port = self._port + (2 + index if single else 1)
        behind = f'advertise = "{self.listen}"\nreply_via = "receiver"\n' if apart else ""
        trusts_balancer = apart and self.options.balancer_is_trusted
        nameservers = ", ".join(f'"{server}"' for server in self.options.nameservers)
        digest = ", ".join(f'"{algorithm}"' for algorithm in self.options.digest)
        media_first = MEDIA_FIRST + (MEDIA_PORTS * index if single else 0)
        media_last = MEDIA_FIRST + MEDIA_PORTS * (index + 1 if single else MEMBERS_MAX) - 1
        log = f"packets-m{index + 1}.jsonl" if single else "packets.jsonl"
        log_line = f'packet_log = "{log}"\n' if self.options.packet_log else ""
        path = self.folder / f"m{index + 1}.toml"
        path.write_text(
            f"""[farm]
secret = "{"of these tests " * 3}"
store = "{self.options.store}"
balancing = "{self.options.balancing}"
[member]
name = "m{index + 1}"
drain_deadline_s = {self.options.drain_deadline_s}
{log_line}[sip]
listen = ["udp:{sip}", "tcp:{sip}"]
{behind}routing = "{self.options.routing}"
trusted = ["{self.host(64)}/26"{f', "{self.host(1)}/32"' if trusts_balancer else ""}]
digest = [{digest}]
nameservers = [{nameservers}]
[protect]
{self.options.protect}
[bus]
listen = "{self.host(2 + index)}:{self._port + 1 if single else 0}"
[media]
mode = "{self.options.media_mode}"
address = "{self.host(1)}"
ports = "{media_first}-{media_last}"
[admin]
listen = "{self.host(1)}:{admin_port}"
""",
            encoding="utf-8",
        )
        return path
