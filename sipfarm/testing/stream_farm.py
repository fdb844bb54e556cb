"""A farm of real processes that listens on every transport, with certificates made for a test."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from sipfarm.admin.io.client import AdminClient
from sipfarm.admin.views import CallView, MemberView, RegistrationView
from sipfarm.base.net import HostPort
from sipfarm.testing.eventually import eventually
from sipfarm.testing.ports import PortLease
from sipfarm.testing.processes import Child, Children

COMMAND: Final = (sys.executable, "-m", "sipfarm.cli.main")
DOMAIN: Final = "example.test"
OTHER_DOMAIN: Final = "other.test"
PAGE_ORIGIN: Final = "https://phone.example.test"
"""Has a certificate of its own."""
USERS: Final = ("alice", "bob", "carol", "dora")
READY_WITHIN_S: Final = 40.0
RECONNECT_WAIT_S: Final = 2.5
PORTS: Final = 10
SILENCE_S: Final = 12
"""After which calls without media are ended."""
UDP, TLS, WS, WSS, BUS, ADMIN = range(6)
"""Steps above the first port."""


class Certificate(msgspec.Struct, frozen=True):
    """PEM files."""

    certificate: Path
    key: Path


def make_certificate(folder: Path, name: str, *names: str) -> Certificate:
    """A certificate that vouches for itself, valid for some names ("DNS:…", "IP:…")."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName={','.join(names)}"),
            *("-keyout", made.key, "-out", made.certificate),
        ],
        check=True,
        capture_output=True,
    )
    return made


class StreamFarm:
    """`sipfarm run` of some members at one address; with `apart`, each member at its own."""

    def __init__(
        self,
        children: Children,
        lease: PortLease,
        folder: Path,
        *,
        members: int = 1,
        apart: bool = False,
    ) -> None:
        self.folder = folder
        self.members = members
        self._port = lease.first
        self._apart = apart
        self._names = [f"m{index + 1}" for index in range(members)]
        self.host = self.address(1)
        hosts = [self.address(1 + index) for index in range(members)]
        self.own = make_certificate(folder, "farm", *(f"IP:{host}" for host in hosts), "IP:::1")
        self.other = make_certificate(folder, OTHER_DOMAIN, f"DNS:{OTHER_DOMAIN}")
        self.trust = folder / "trust.pem"
        self.trust.write_bytes(
            self.own.certificate.read_bytes() + self.other.certificate.read_bytes()
        )
        files = [self._config(index) for index in range(members if apart else 1)]
        self._provision(files[0])
        self.processes: list[Child] = []
        if apart:
            self.processes = [children.start([*COMMAND, "member", "--config", f]) for f in files]
        else:
            command = [*COMMAND, "run", "--config", files[0], "--data", folder / "data"]
            self.processes = [children.start([*command, "--members", str(members)])]
        for process in self.processes:
            process.wait_for_line(r"^ready ", READY_WITHIN_S)
        eventually(self._is_linked, "the members are linked", READY_WITHIN_S)

    def address(self, number: int) -> str:
        """One of a network that no other test has."""
        return f"127.{self._port >> 8}.{self._port & 255}.{number}"

    def phone(self, number: int) -> HostPort:
        return HostPort(self.address(64 + number), 0)

    def trusted(self, number: int) -> HostPort:
        """An address that may call without digest."""
        return HostPort(self.address(128 + number), 5060)

    def at(self, step: int, member: int = 1) -> HostPort:
        """Where a transport is listened on: `UDP` (and TCP), `TLS`, `WS` or `WSS`."""
        return HostPort(self.address(member if self._apart else 1), self._port + step)

    def at_v6(self, step: int) -> HostPort:
        """The same over IPv6, which has one loopback address for all."""
        return HostPort("::1", self._port + step)

    def admin(self) -> AdminClient:
        """The API that answers for the farm: the supervisor's, or the first member's."""
        return AdminClient(f"{self.host}:{self._port + ADMIN}")

    def metrics(self, member: int) -> str:
        """What a member of a farm whose members are apart tells Prometheus."""
        admin = AdminClient(f"{self.address(member)}:{self._port + ADMIN}")
        return admin.exchange("GET", "/metrics").body.decode()

    def calls(self) -> list[CallView]:
        return self.admin().get("/api/v1/calls", list[CallView])

    def registrations(self) -> list[RegistrationView]:
        return self.admin().get("/api/v1/registrations", list[RegistrationView])

    def member_views(self) -> list[MemberView]:
        return self.admin().get("/api/v1/members", list[MemberView])

    def holder_of(self, user: str) -> str:
        """The member that holds the flow of an account."""
        aor = f"sip:{user}@{DOMAIN}"
        return next((view.member or "" for view in self.registrations() if view.aor == aor), "")

    def _is_linked(self) -> bool:
        """Whether each member has said that it has a link with each other one."""
        lines = [line for process in self.processes for line in process.lines]
        made = sum("bus_link_made" in line for line in lines)
        return made >= self.members * (self.members - 1)

    def _provision(self, config: Path) -> None:
        domains = ""
        for domain, more in (
            (DOMAIN, ""),
            (
                OTHER_DOMAIN,
                f'certificate = "{self.other.certificate}"\nkey = "{self.other.key}"\n',
            ),
        ):
            domains += f'[[domain]]\nname = "{domain}"\n{more}'
            for user in USERS:
                domains += f'[[domain.account]]\nname = "{user}"\npassword = "{user}-secret"\n'
        file = self.folder / "provision.toml"
        file.write_text(domains, encoding="utf-8")
        loaded = Child([*COMMAND, "provision", file, "--config", config])
        if loaded.wait(READY_WITHIN_S):
            raise AssertionError(f"no provisioning:\n{loaded.tail()}")

    def _config(self, index: int) -> Path:
        steps = (("udp", UDP), ("tcp", UDP), ("tls", TLS), ("ws", WS), ("wss", WSS))
        listens = [f"{kind}:{self.at(step, index + 1)}" for kind, step in steps]
        if not index:
            listens += [f"{kind}:{self.at_v6(step)}" for kind, step in steps]
        bus = HostPort(self.address(1 + index), self._port + BUS if self._apart else 0)
        first = 33_000 + (8_000 * index if self._apart else 0)
        last = first + 7_999 if self._apart else 59_999
        path = self.folder / f"m{index + 1}.toml"
        path.write_text(
            f"""[farm]
secret = "{"of these tests " * 3}"
store = "sqlite:farm.db"
[member]
name = "m{index + 1}"
drain_deadline_s = 2
[sip]
listen = [{", ".join(f'"{listen}"' for listen in listens)}]
certificate = "{self.own.certificate}"
key = "{self.own.key}"
trusted = ["{self.address(128)}/26"]
origins = ["{PAGE_ORIGIN}"]
reconnect_wait_ms = {RECONNECT_WAIT_S * 1_000:.0f}
[bus]
listen = "{bus}"
[media]
address = "{self.address(1 + index)}"
ports = "{first}-{last}"
silence_timeout_s = {SILENCE_S}
[admin]
listen = "{self.address(1 + index)}:{self._port + ADMIN}"
""",
            encoding="utf-8",
        )
        return path
