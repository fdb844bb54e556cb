import json
from pathlib import Path

import pytest

from tests.cli.test_main import run

PROVISION = """
[[domain]]
name = "example.test"
  [[domain.account]]
  name = "alice"
  password = "alice-secret"
  numbers = ["1001"]
  [[domain.application]]
  name = "echo"
  numbers = ["600"]
"""
MEMBER = """
[farm]
secret = "a secret of a test"
store = "{store}"
[member]
name = "m1"
[sip]
listen = ["udp:127.0.0.1:5060"]
[bus]
listen = "127.0.0.1:7061"
[admin]
listen = "127.0.0.1:8061"
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    provision, member = tmp_path / "provision.toml", tmp_path / "member.toml"
    provision.write_text(PROVISION)
    member.write_text(MEMBER.format(store="sqlite:farm.db"))
    return str(provision), str(member)


def test_a_file_is_loaded_once(capsys: pytest.CaptureFixture[str], files: tuple[str, str]) -> None:
    file, config = files
    status, out, _ = run(capsys, "provision", file, "--config", config)
    assert status == 0
    assert out.splitlines() == [
        "example.test: added domain example.test",
        "example.test: added account alice",
        "example.test: added application echo",
    ]
    again = run(capsys, "provision", file, "--config", config)
    assert again == (0, "example.test: nothing changed\n", "")


def test_what_changed_is_told_as_json(
    capsys: pytest.CaptureFixture[str], files: tuple[str, str]
) -> None:
    file, config = files
    run(capsys, "provision", file, "--config", config)
    Path(file).write_text(PROVISION.replace("1001", "1009"))
    _, out, _ = run(capsys, "provision", file, "--config", config, "--json")
    (change,) = json.loads(out)
    assert (change["domain"], change["added"]) == ("example.test", [])
    assert change["changed"] == ["account alice"]
    assert "secret" not in out


def test_a_number_of_somebody_else_ends_in_a_sentence(
    capsys: pytest.CaptureFixture[str], files: tuple[str, str]
) -> None:
    file, config = files
    run(capsys, "provision", file, "--config", config)
    Path(file).write_text(PROVISION.replace("alice", "bob"))
    status, out, error = run(capsys, "provision", file, "--config", config)
    assert (status, out) == (1, "")
    assert error.count("\n") == 1
    assert "number '1001' of 'bob' belongs to account 'alice'" in error


def test_a_store_that_cannot_be_opened_ends_in_a_sentence(
    capsys: pytest.CaptureFixture[str], files: tuple[str, str]
) -> None:
    file, config = files
    Path(config).write_text(MEMBER.format(store="sqlite:no/such/directory/farm.db"))
    status, _, error = run(capsys, "provision", file, "--config", config)
    assert status == 1
    assert error.startswith("sipfarm: store ")
    assert error.count("\n") == 1
