"""Ladders: text files that say what phones do, and below it everything that then went by wire.

    python -m sipfarm.testing.ladder tests/ladders            what differs
    python -m sipfarm.testing.ladder tests/ladders --rewrite  write down what is now

Above the line of dashes stands a command on each line, times in milliseconds:

    # what is shown, and the RFC's section
    farm members=3                       how many members (1), and a seed (1)
    phone bob ring=100 answer=1000       what a phone does with a call: also status, talk, contact
    account bob bobs-desk bobs-cell/900  an account's phones, with their q in thousandths
    lose alice INVITE                    what alice (or the farm) sends of that kind gets lost
    call alice bob talk=2000             a call: also at, patience
    messages                             show whole messages
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sipfarm.testing.checkers import Checkers
from sipfarm.testing.farm import DOMAIN, FARM, FarmOptions, SimFarm
from sipfarm.testing.ladder_lines import LadderWriter
from sipfarm.testing.net import Passage
from sipfarm.testing.phone_calls import PATIENCE_MS_MAX, AnswerPlan, CallPlan, OutgoingCall
from sipfarm.testing.sim_member import MemberOptions
from sipfarm.testing.sim_place import PlaceOptions
from sipfarm.testing.wire_text import WireText

DASHES: Final = "----"
QUIET_WITHIN_MS: Final = 600_000


class LadderError(Exception):
    """A ladder says what cannot be done."""


def split(text: str) -> tuple[str, str]:
    """The commands of a ladder, and what went by wire."""
    head, dashes, wire = text.partition(f"{DASHES}\n")
    if not dashes:
        raise LadderError(f"there is no line {DASHES}")
    return head, wire


def play(head: str) -> str:
    """Do what the commands say; what went by wire."""
    script = _Script()
    for number, line in enumerate(head.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            script.obey(words)
        except (KeyError, ValueError) as error:
            raise LadderError(f"line {number}: {line}: {error}") from error
    return script.play()


class _Script:
    """A farm being set up by commands."""

    def __init__(self) -> None:
        self._members = 1
        self._seed = 1
        self._phones: dict[str, dict[str, str]] = {}
        self._accounts: dict[str, list[str]] = {}
        self._losses: list[tuple[str, str]] = []
        self._calls: list[tuple[str, str, dict[str, str]]] = []
        self._whole = False

    def obey(self, words: list[str]) -> None:
        command, *rest = words
        named = dict([word.split("=", 1) for word in rest if "=" in word])
        plain = [word for word in rest if "=" not in word]
        if command == "farm":
            self._members = int(named.get("members", "1"))
            self._seed = int(named.get("seed", "1"))
        elif command == "phone":
            self._phones[plain[0]] = named
        elif command == "account":
            self._accounts[plain[0]] = plain[1:]
        elif command == "lose":
            self._losses.append((plain[0], plain[1]))
        elif command == "call":
            self._calls.append((plain[0], plain[1], named))
        elif command == "messages":
            self._whole = True
        else:
            raise ValueError("no such command")

    def play(self) -> str:
        options = FarmOptions(
            members=self._members, member=MemberOptions(place=PlaceOptions(heartbeats=False))
        )
        farm = SimFarm(self._seed, options)
        for name, plan in self._phones.items():
            phone = farm.phone(name)
            farm.account(name)
            farm.bind(name, phone)
            answer = _answer_plan(plan)
            phone.answer = lambda invite, answer=answer: answer
        for account, names in self._accounts.items():
            farm.account(account)
            for name in names:
                phone, _, q = name.partition("/")
                farm.bind(account, farm.phones[phone], int(q or "1000"))
        checkers = Checkers(farm)
        farm.begin()
        farm.run(10)
        begun_ms = farm.clock.now_ms()
        lines: list[str] = []
        LadderWriter(farm, lines.append, since_ms=begun_ms, whole=self._whole)
        farm.net.lose_next = _Loss(farm, self._losses)
        for index, (caller, callee, named) in enumerate(self._calls):
            plan = CallPlan(
                patience_ms=int(named.get("patience", PATIENCE_MS_MAX)),
                talk_ms=int(named.get("talk", "0")),
            )
            call = OutgoingCall(f"sip:{callee}@{DOMAIN}", DOMAIN, plan, f"call{index + 1}")
            at_ms = begun_ms + int(named.get("at", "0"))
            farm.clock.call_at(at_ms, lambda call=call, caller=caller: _start(farm, caller, call))
        farm.run_until_quiet(QUIET_WITHIN_MS)
        for call, (caller, _, _) in zip(_calls_of(farm), self._calls, strict=True):
            lines.append(f"{caller}: {_told(call)}")
        farm.outlive_directories()
        checkers.at_rest()
        return "\n".join([*lines, *checkers.violations]) + "\n"


class _Loss:
    """Loses what it is told to."""

    def __init__(self, farm: SimFarm, losses: list[tuple[str, str]]) -> None:
        self._losses = [
            (FARM if name == "farm" else farm.phones[name].address, kind) for name, kind in losses
        ]

    def __call__(self, passage: Passage) -> bool:
        message = WireText(passage.data)
        kind = message.method if message.is_request else str(message.status)
        return any(passage.source == address and told == kind for address, told in self._losses)


def _answer_plan(named: dict[str, str]) -> AnswerPlan:
    contact = named.get("contact", "")
    return AnswerPlan(
        ring_ms=int(named.get("ring", "0")),
        answer_ms=int(named.get("answer", "0")),
        status=int(named.get("status", "200")),
        talk_ms=int(named.get("talk", "0")),
        contacts=(contact,) if contact else (),
    )


def _start(farm: SimFarm, caller: str, call: OutgoingCall) -> None:
    farm.phones[caller].call(call)


def _calls_of(farm: SimFarm) -> list[OutgoingCall]:
    calls = [call for phone in farm.phones.values() for call in phone.outgoing]
    return sorted(calls, key=lambda call: call.call_id)


def _told(call: OutgoingCall) -> str:
    statuses = [str(status or "nothing") for status in call.statuses]
    return f"call to {call.uri} came to {', '.join(statuses)}"


def ladders(paths: Sequence[Path]) -> list[Path]:
    """The ladder files in folders and among files."""
    found = [file for path in paths for file in (path.glob("*.txt") if path.is_dir() else (path,))]
    return sorted(found)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Play ladders.")
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--rewrite", action="store_true", help="write down what went by wire")
    given = parser.parse_args(arguments)
    differing = 0
    for path in ladders(given.paths):
        head, wire = split(path.read_text())
        now = play(head)
        if now == wire:
            continue
        differing += 1
        print(f"{path}: {'rewritten' if given.rewrite else 'differs'}")
        if given.rewrite:
            path.write_text(f"{head}{DASHES}\n{now}")
    return 1 if differing and not given.rewrite else 0


if __name__ == "__main__":
    sys.exit(main())
