import importlib
from pathlib import Path

import pytest

from sipfarm import __version__
from sipfarm.cli.main import COMMANDS, main


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
