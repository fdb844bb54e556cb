"""Each ladder goes over the wire as it is written down.

After a change that is meant: `python -m sipfarm.testing.ladder tests/ladders --rewrite`, and read
the difference.
"""

from pathlib import Path

import pytest

from sipfarm.testing.ladder import LadderError, ladders, main, play, split

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("path", ladders([FOLDER]), ids=lambda path: path.stem)
def test_the_ladder_goes_over_the_wire_as_written(path: Path) -> None:
    head, wire = split(path.read_text())
    assert play(head).splitlines() == wire.splitlines()


def test_a_ladder_that_differs_is_reported_and_can_be_rewritten(tmp_path: Path) -> None:
    written = FOLDER / "cancel.txt"
    ladder = tmp_path / "cancel.txt"
    ladder.write_text(written.read_text().replace("487 INVITE", "486 INVITE"))
    assert main([str(tmp_path)]) == 1
    assert main([str(tmp_path), "--rewrite"]) == 0
    assert ladder.read_text() == written.read_text()
    assert main([str(tmp_path)]) == 0


@pytest.mark.parametrize("line", ["dance alice", "farm members=many", "call alice"])
def test_a_command_that_cannot_be_obeyed_names_its_line(line: str) -> None:
    with pytest.raises((LadderError, IndexError), match=line if "call" not in line else None):
        play(f"phone alice\n{line}\n")
