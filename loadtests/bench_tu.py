"""What does one decision of a transaction user cost in Python?

`python -m loadtests.bench_tu` runs the shipped Registration and Router over native messages and
records at hand, and prints microseconds of CPU per decision: the store's operation and the parsing
of a message are not in it. Writes one JSON line at the end.
"""

import gc
import json
import platform
import sys
from collections.abc import Callable
from time import process_time_ns

from sipfarm.base.records import RegisterOutcome, RegisterUpdate
from sipfarm.native import parse_credentials
from sipfarm.signaling.reply import Reply
from sipfarm.signaling.routing import Decision, Forward, Reject
from sipfarm.signaling.standing import Judged
from tests.signaling.plain_sip import (
    NOW_MS,
    WALL_MS,
    Member,
    PlainRequest,
    answered,
    example_records,
    register,
    request,
)

DECISIONS = 10_000
BATCH = 50  # requests parsed before any is decided, as the driver does it
ROUNDS = 5
CHALLENGES_PER_MS = 10
TIMES = (NOW_MS, WALL_MS + 10_000)


def microseconds(decide: Callable[[PlainRequest], object], made: list[PlainRequest]) -> float:
    """The CPU time of one decision in the best round, each request being of its own transaction."""
    rounds: list[float] = []
    for number in range(ROUNDS):
        spent_ns = 0
        for begin in range(number * DECISIONS, (number + 1) * DECISIONS, BATCH):
            batch = [
                PlainRequest(one.method, one.request_uri, one.lines)
                for one in made[begin : begin + BATCH]
            ]
            begun = process_time_ns()
            for one in batch:
                decide(one)
            spent_ns += process_time_ns() - begun
        rounds.append(spent_ns / 1_000 / DECISIONS)
    return min(rounds)


def prepared(made: PlainRequest, name: str, values: list[str]) -> list[PlainRequest]:
    return [
        made.with_lines((name, value), branch=str(number)) for number, value in enumerate(values)
    ]


def calls(member: Member, trusted: bool) -> list[PlainRequest]:
    made = request()
    if trusted:
        return [made] * (DECISIONS * ROUNDS)
    values: list[str] = []
    while len(values) < DECISIONS * ROUNDS:
        challenge = member.decide(made)
        assert isinstance(challenge, Reject)
        reply = Reply(407, "", challenge.headers)
        values += [answered(made, reply, "alice", nc=f"{count:x}") for count in range(1, 5)]
    return prepared(made, "Proxy-Authorization", values)


def registrations(member: Member) -> list[PlainRequest]:
    made = register(("Contact", "<sip:alice@192.0.2.10:5060>;expires=600"), ("User-Agent", "bench"))
    values: list[str] = []
    for number in range(DECISIONS * ROUNDS):
        challenge = member.receive(made, WALL_MS + number // CHALLENGES_PER_MS)
        assert isinstance(challenge, Reply)
        values.append(answered(made, challenge, "alice"))
    return prepared(made, "Authorization", values)


def main() -> None:
    stranger, friend = (
        Member(example_records()),
        Member(example_records(), trusted=("192.0.2.0/24",)),
    )
    friend.decide(request())

    def route(member: Member, expected: type[Decision]) -> Callable[[PlainRequest], None]:
        def decide(made: PlainRequest) -> None:
            judged = member.router.decide(made, TIMES)
            assert isinstance(judged, Judged), judged
            assert isinstance(judged.result, expected), judged

        return decide

    def enroll(made: PlainRequest) -> None:
        judged = stranger.registration.receive(made, "", TIMES)
        assert isinstance(judged, Judged), judged
        update = judged.result
        assert isinstance(update, RegisterUpdate), update
        outcome = RegisterOutcome("applied", update.contacts)
        stranger.registration.answer(made, update, outcome, TIMES)

    def ask(made: PlainRequest) -> None:
        stranger.registration.receive(made, "", TIMES)

    answered_calls = calls(stranger, trusted=False)
    stranger.decide(answered_calls[0])
    enrolments = registrations(stranger)
    stranger.receive(enrolments[0])
    bare = [request()] * (DECISIONS * ROUNDS)
    unproven = [register(("Contact", "<sip:alice@192.0.2.10>"))]
    gc.collect()
    gc.freeze()  # the requests are not the decision's garbage
    figures = {
        "INVITE challenged": microseconds(route(stranger, Reject), bare),
        "INVITE with digest": microseconds(route(stranger, Forward), answered_calls),
        "INVITE from a trusted source": microseconds(route(friend, Forward), calls(friend, True)),
        "REGISTER challenged": microseconds(ask, unproven * (DECISIONS * ROUNDS)),
        "REGISTER with digest, and its answer": microseconds(enroll, enrolments),
        "parsing of credentials alone": microseconds(
            lambda made: parse_credentials(made.lines[-1][1]), answered_calls
        ),
    }
    for name, figure in figures.items():
        print(f"{name:40} {figure:7.2f} us")
    record = {"us": figures, "python": platform.python_version(), "cpu": platform.processor()}
    json.dump(record, sys.stdout)
    print()


if __name__ == "__main__":
    main()
