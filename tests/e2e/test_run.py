"""`sipfarm run` as its operator meets it: ready, supervised, ended; and why it does not start."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sipfarm.testing.demo_farm import SIPFARM, DemoFarm
from sipfarm.testing.eventually import eventually
from sipfarm.testing.ports import PortLease
from sipfarm.testing.processes import Children

READY_S = 30.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoFarm]:
    with DemoFarm(tmp_path_factory.mktemp("farm"), members=2) as running:
        yield running


@pytest.fixture
def farm(shared: DemoFarm) -> DemoFarm:
    """Whole, whatever the test before did to it."""
    shared.wait_whole()
    return shared


def options(farm: DemoFarm, transport: str, local_port: int, number: int) -> bytes:
    return (
        f"OPTIONS sip:{farm.host}:{farm.port} SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport} {farm.host}:{local_port};rport;branch=z9hG4bK-{number}\r\n"
        "Max-Forwards: 70\r\n"
        f"From: <sip:probe@{farm.host}>;tag=probe{number}\r\n"
        f"To: <sip:{farm.host}:{farm.port}>\r\n"
        f"Call-ID: probe-{number}@{farm.host}\r\n"
        "CSeq: 1 OPTIONS\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_ready_tells_the_address_and_how_to_call(farm: DemoFarm) -> None:
    lines = farm.child.lines
    ready = next(line for line in lines if line.startswith("ready"))
    assert f"{farm.host}:{farm.port}" in ready
    said = "\n".join(lines)
    for told in ("alice@example.test", "alice-secret", "bob@example.test", "bob-secret", "1002"):
        assert told in said
    assert re.search(r"dial.*echo", said)


def test_options_over_udp_are_answered_by_whichever_member(farm: DemoFarm) -> None:
    for number in range(20):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.bind((farm.host, 0))
            phone.settimeout(5.0)
            request = options(farm, "UDP", phone.getsockname()[1], number)
            phone.sendto(request, (farm.host, farm.port))
            assert phone.recv(65_535).startswith(b"SIP/2.0 200 ")


def test_options_over_tcp_are_answered_on_their_connection(farm: DemoFarm) -> None:
    for number in range(100, 120):
        with socket.create_connection((farm.host, farm.port), 5.0) as phone:
            phone.sendall(options(farm, "TCP", phone.getsockname()[1], number))
            assert phone.recv(65_535).startswith(b"SIP/2.0 200 ")


def test_each_member_and_the_farm_say_that_they_are_ready(farm: DemoFarm) -> None:
    for member in range(farm.members + 1):
        assert farm.ask("/readyz", member=member).status == 200
        assert farm.ask("/healthz", member=member).status == 200


@pytest.mark.parametrize("asked", [0, 1, 2])
def test_all_members_are_listed_by_each(farm: DemoFarm, asked: int) -> None:
    views = farm.shown("members", member=asked)
    assert [view["name"] for view in views] == ["m1", "m2"]
    assert {view["state"] for view in views} == {"ready"}
    assert all(alive(view["pid"]) and view["incarnation"] > 0 for view in views)
    assert len({view["bus"] for view in views}) == 2
    assert [view["admin"] for view in views] == [
        f"{farm.host}:{farm.admin_port + member}" for member in (1, 2)
    ]


def test_a_member_is_drained_and_undrained_over_another_one(farm: DemoFarm) -> None:
    assert farm.shown("members/m2/drain", "POST", member=1)["state"] == "draining"
    try:
        assert farm.ask("/readyz", member=2).status == 503
        assert farm.ask("/readyz", member=0).status == 200
        assert [view["state"] for view in farm.shown("members")] == ["ready", "draining"]
    finally:
        assert farm.shown("members/m2/undrain", "POST")["state"] == "ready"
    assert farm.ask("/readyz", member=2).status == 200


def test_a_member_that_is_not_there_cannot_be_drained(farm: DemoFarm) -> None:
    answer = farm.ask("/api/v1/members/m9/drain", "POST")
    assert (answer.status, b"m9" in answer.body) == (404, True)


def test_the_demo_domain_is_listed_without_secrets(farm: DemoFarm) -> None:
    assert [domain["name"] for domain in farm.shown("domains")] == ["example.test"]
    accounts = farm.shown("domains/example.test/accounts")
    assert [account["numbers"] for account in accounts] == [["1001"], ["1002"], ["1003"]]
    assert not re.search(r"ha1|secret|password", str(accounts))


def test_the_metrics_of_all_members_are_one_page(farm: DemoFarm) -> None:
    page = farm.ask("/metrics").body.decode()
    for member in ("m1", "m2"):
        assert f'sipfarm_sip_received_total{{member="{member}"}}' in page
    heads = [line for line in page.splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))


def test_commands_show_the_farm(farm: DemoFarm) -> None:
    environment = {**os.environ, "SIPFARM_ADMIN": f"http://{farm.host}:{farm.admin_port}"}
    for command, seen in (
        (("members",), "m2"),
        (("members", "--json"), '"name": "m1"'),
        (("calls",), "none"),
        (("registrations",), "none"),
        (("domain", "list"), "example.test"),
        (("account", "list", "example.test"), "1002"),
        (("undrain", "m1"), "ready"),
    ):
        done = subprocess.run(
            [*SIPFARM, *command], env=environment, capture_output=True, text=True, check=True
        )
        assert seen in done.stdout


def test_a_killed_member_is_started_again_under_a_new_incarnation(farm: DemoFarm) -> None:
    before = {view["name"]: view for view in farm.shown("members")}
    farm.kill("m1")

    def is_back() -> bool:
        now = {view["name"]: view for view in farm.shown("members")}
        return (
            now["m1"]["state"] == "ready"
            and now["m1"]["incarnation"] > before["m1"]["incarnation"]
            and now["m1"]["pid"] != before["m1"]["pid"]
            and now["m2"]["pid"] == before["m2"]["pid"]
        )

    farm.wait_until(is_back, "m1 is back")
    page = farm.ask("/metrics").body.decode()
    assert re.search(r'sipfarm_member_restarts_total\{member="m1"\} [1-9]', page)


def test_a_member_whose_loop_is_silent_is_killed_and_started_again(farm: DemoFarm) -> None:
    pid = farm.kill("m2", signal.SIGSTOP)
    mark = farm.child.line_count
    farm.child.wait_for_line(rf"member_silent.*pid={pid}", 10.0, after=max(mark - 1, 0))
    farm.wait_until(lambda: farm.pid_of("m2") != pid, "m2 is back")
    assert not alive(pid)


def test_sigterm_ends_all_members_and_is_no_failure(tmp_path: Path) -> None:
    with DemoFarm(tmp_path, members=2) as farm:
        pids = [view["pid"] for view in farm.shown("members")]
        farm.child.send(signal.SIGTERM)
        assert farm.child.wait(20.0) == 0
        assert not any(alive(pid) for pid in pids)


def test_a_drain_waits_for_calls_and_a_second_sigterm_does_not(
    tmp_path: Path, children: Children
) -> None:
    with DemoFarm(tmp_path, members=1) as farm:
        proxy = f"{farm.host}:{farm.port}"
        children.start(
            [
                *(*SIPFARM, "phone", "sip:alice@example.test", "--password", "alice-secret"),
                *("--server", proxy, "--call", "sip:echo@example.test", "--seconds", "60"),
            ]
        )
        farm.wait_until(lambda: [c["state"] for c in farm.shown("calls")] == ["answered"], "a call")
        farm.child.send(signal.SIGTERM)
        farm.wait_until(lambda: farm.ask("/readyz", member=1).status == 503, "it drains")
        assert farm.ask("/readyz").status == 503
        assert [call["task"] for call in farm.shown("calls")] == ["echo"]
        farm.child.send(signal.SIGTERM)
        assert farm.child.wait(5.0) == 0


def test_members_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    with DemoFarm(tmp_path, members=2) as farm:
        pids = [view["pid"] for view in farm.shown("members")]
        farm.child.kill()
        eventually(lambda: not any(alive(pid) for pid in pids), "no member lives", 5.0)


def test_without_restart_the_farm_ends_with_its_last_member(tmp_path: Path) -> None:
    with DemoFarm(tmp_path, members=1, options=["--no-restart"]) as farm:
        farm.kill("m1")
        assert farm.child.wait(10.0) == 1
        assert farm.child.lines[-1] == "sipfarm: all members have ended"


def test_the_data_are_there_again_and_the_secret_is_the_owners(tmp_path: Path) -> None:
    with DemoFarm(tmp_path, members=1):
        secret = (tmp_path / "secret").read_text(encoding="ascii")
    with DemoFarm(tmp_path, members=1):
        assert (tmp_path / "secret").read_text(encoding="ascii") == secret
    for file in ("secret", "m1.toml"):
        assert (tmp_path / file).stat().st_mode & 0o077 == 0


def fails(children: Children, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """The one sentence that a command ends with."""
    child = children.start([*SIPFARM, *arguments], environment=environment)
    assert child.wait(READY_S) == 1
    assert len(child.lines) == 1, child.lines
    return child.lines[0]


@pytest.fixture
def run(
    children: Children, free_port: Callable[[], int], tmp_path: Path
) -> Callable[[dict[str, str]], str]:
    """`sipfarm run` that fails, with some of its options said differently."""
    given = {
        "--listen": f"127.0.0.1:{free_port()}",
        "--admin": f"127.0.0.1:{free_port()}",
        "--data": str(tmp_path / "data"),
        "--members": "2",
    }

    def failed(differently: dict[str, str]) -> str:
        pairs = {**given, **differently}.items()
        return fails(children, "run", *(word for pair in pairs for word in pair))

    return failed


Failing = Callable[[dict[str, str]], str]


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_taken_sip_port_is_told_in_one_sentence(run: Failing, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        sentence = run({"--listen": address})
    assert re.fullmatch(rf"sipfarm: .*(udp|tcp):{address}.*in use", sentence)


@pytest.mark.parametrize("above", [0, 1, 2])
def test_a_taken_admin_port_is_told_in_one_sentence(
    run: Failing, ports: Callable[[int], PortLease], above: int
) -> None:
    first = ports(3).first
    with socket.create_server(("127.0.0.1", first + above)):
        sentence = run({"--admin": f"127.0.0.1:{first}"})
    assert re.fullmatch(rf"sipfarm: .*127.0.0.1:{first + above}.*in use", sentence)


def test_two_farms_do_not_share_a_directory(run: Failing, farm: DemoFarm) -> None:
    data = farm.child.arguments[farm.child.arguments.index("--data") + 1]
    assert "belongs to a farm that runs" in run({"--data": data})


def test_a_directory_that_cannot_be_made_is_told(run: Failing, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be used" in run({"--data": str(tmp_path / "file" / "data")})


def test_an_unreachable_redis_is_told_in_one_sentence(
    run: Failing, free_port: Callable[[], int], tmp_path: Path
) -> None:
    store = f"redis://127.0.0.1:{free_port()}/0"
    file = member_file(tmp_path, store, f"udp:127.0.0.1:{free_port()}")
    assert f"sipfarm: store {store}: " in run({"--config": str(file)})


@pytest.mark.parametrize("missing", ["sipfarm.native._native", "uvicorn"])
@pytest.mark.parametrize("command", ["run", "member"])
def test_a_missing_library_is_told_in_one_sentence(
    children: Children, tmp_path: Path, free_port: Callable[[], int], missing: str, command: str
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(f"import sys\nsys.modules[{missing!r}] = None\n")
    file = member_file(tmp_path, "sqlite:farm.db", f"udp:127.0.0.1:{free_port()}")
    data = ["--data", str(tmp_path / "data")] if command == "run" else []
    path = os.pathsep.join((str(hidden), os.environ.get("PYTHONPATH", "")))
    sentence = fails(
        children, command, "--config", str(file), *data, environment={"PYTHONPATH": path}
    )
    assert re.match(rf"sipfarm: something is not installed or not built: .*{missing}", sentence)


def test_a_file_is_the_template_of_all_members(
    children: Children, free_port: Callable[[], int], tmp_path: Path
) -> None:
    listen = f"udp:127.0.0.1:{free_port()}"
    file = member_file(tmp_path, "sqlite:farm.db", listen)
    child = children.start(
        [
            *(*SIPFARM, "run", "--config", file, "--members", "2", "--data", tmp_path / "data"),
            *("--admin", "127.0.0.1:0"),
        ],
        ready=rf"^ready sip:{listen.removeprefix('udp:')} \(udp\)",
        timeout_s=READY_S,
    )
    assert (tmp_path / "farm.db").exists()
    assert not any("alice" in line for line in child.lines), "an operator's farm has no demo domain"


def test_a_single_member_says_ready_and_ends_well(
    children: Children, free_port: Callable[[], int], tmp_path: Path
) -> None:
    listen = f"udp:127.0.0.1:{free_port()}"
    file = member_file(tmp_path, "sqlite:farm.db", listen)
    member = children.start(
        [*SIPFARM, "member", "--config", file], ready=rf"^ready m1 {listen}$", timeout_s=READY_S
    )
    member.send(signal.SIGTERM)
    assert member.wait(10.0) == 0


def member_file(directory: Path, store: str, listen: str) -> Path:
    """A member's file; bus and admin port are any."""
    file = directory / "member.toml"
    file.write_text(
        f'[farm]\nsecret = "a secret of a test"\nstore = "{store}"\n'
        '[member]\nname = "m1"\ndrain_deadline_s = 2\n'
        f'[sip]\nlisten = ["{listen}"]\n'
        '[bus]\nlisten = "127.0.0.1:0"\n'
        '[media]\nports = "40000-40999"\n'
        '[admin]\nlisten = "127.0.0.1:0"\n'
    )
    return file
