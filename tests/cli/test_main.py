import importlib
from pathlib import Path

import pytest

from sipfarm import __version__
from sipfarm.cli.main import COMMANDS, main
from sipfarm.testing.stream_farm import make_certificate


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    captured = capsys.readouterr()
    code = caught.value.code
    return (code if isinstance(code, int) else 0), captured.out, captured.err


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"sipfarm {__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_there_and_in_the_help(
    capsys: pytest.CaptureFixture[str], command: object
) -> None:
    name, target = command.name, command.target  # type: ignore[attr-defined]
    module, _, attribute = target.partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))
    assert name in run(capsys, "--help")[1]
    assert run(capsys, name, "--help")[0] == 0


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, error = run(capsys, "fly")
    assert status == 2
    assert "fly" in error


def test_a_wrong_config_ends_in_sentences_and_status_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "member.toml"
    file.write_text('[member]\nname = "m 1"\n')
    status, out, error = run(capsys, "check-config", str(file))
    assert (status, out) == (1, "")
    assert f"{file}:2: [member] name" in error
    assert "Traceback" not in error


def test_a_good_provisioning_file_is_told_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "provision.toml"
    file.write_text('[[domain]]\nname = "example.test"\n')
    status, out, _ = run(capsys, "check-config", str(file))
    assert status == 0
    assert "1 domains, 0 accounts" in out


MEMBER = """[farm]
secret = "0123456789abcdef"
store = "sqlite:farm.db"
[member]
name = "m1"
[sip]
listen = ["tls:127.0.0.1:5061"]
certificate = "one.pem"
key = "one.key"
[bus]
listen = "127.0.0.1:7061"
[admin]
listen = "127.0.0.1:8061"
"""


@pytest.mark.parametrize(
    ("written", "instead", "told"),
    [
        ("one.key", "one.key", ""),
        ("one.key", "two.key", "two.key is not the key of "),
        ('"one.key"', '"one.key"\nrouting = "nowhere:route"', "there is no module nowhere"),
    ],
)
def test_what_a_config_names_is_tried(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, written: str, instead: str, told: str
) -> None:
    for name in ("one", "two"):
        make_certificate(tmp_path, name, "DNS:example.test")
    file = tmp_path / "member.toml"
    file.write_text(MEMBER.replace(written, instead))
    status, _, error = run(capsys, "check-config", str(file))
    assert (status, told in error) == (1 if told else 0, True), error
