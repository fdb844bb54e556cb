"""The command lines of `phone` and `demo`: what they print and how they exit."""

import asyncio
import json
import sys

import pytest
import typer
from typer.testing import CliRunner

from sipfarm.cli.phone import phone
from sipfarm.phone.io.farm import Farm, farm
from sipfarm.phone.io.process import PhoneError
from sipfarm.phone.outcome import ExitStatus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

FAKE_FARM = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("admin token secret-1", flush=True)
print("ready sip:127.0.0.1:5060", flush=True)
while True:
    signal.pause()
"""


def command() -> typer.Typer:
    app = typer.Typer()
    app.command("phone")(phone)
    return app


def test_what_is_no_address_is_a_wrong_command_line() -> None:
    result = CliRunner().invoke(command(), ["alice"])
    assert result.exit_code == 2
    assert "is no address such as" in result.output


def test_an_unknown_codec_ends_in_one_line_of_json() -> None:
    arguments = ["sip:alice@example.test", "--direct", "--codec", "G729", "--json"]
    result = CliRunner().invoke(command(), arguments)
    assert result.exit_code == ExitStatus.BROKEN
    (line,) = result.stdout.splitlines()
    assert json.loads(line)["error"].startswith("The codec G729 is unknown; there are G722")


def test_a_call_that_is_not_taken_has_its_exit_status() -> None:
    arguments = ["sip:alice@example.test", "--direct", "--bind", "127.0.0.1", "--transport", "tcp"]
    result = CliRunner().invoke(
        command(), [*arguments, "--call", "sip:bob@127.0.0.1:1;transport=tcp", "--json"]
    )
    told = json.loads(result.stdout)
    assert result.exit_code == ExitStatus.NOT_TAKEN
    assert told["status"] == 503


def test_a_farm_is_known_by_its_ready_line_and_stopped_by_sigterm() -> None:
    async def start() -> Farm:
        async with farm(1, (sys.executable, "-c", FAKE_FARM)) as running:
            assert not running.ended.is_set()
        return running

    running = asyncio.run(start())
    assert running.ended.is_set()
    assert running.token == "secret-1"


def test_a_farm_that_does_not_start_is_told_in_its_own_words() -> None:
    async def start() -> None:
        async with farm(1, (sys.executable, "-c", "print('The port is taken.'); exit(1)")):
            pass

    with pytest.raises(PhoneError, match=r"The farm did not start\. The port is taken\."):
        asyncio.run(start())


def test_an_admin_api_that_is_away_is_told_in_a_sentence() -> None:
    async def ask() -> None:
        async with farm(1, (sys.executable, "-c", FAKE_FARM)) as running:
            await running.ask("calls")

    with pytest.raises(PhoneError, match="The admin API did not answer calls"):
        asyncio.run(ask())
