from pathlib import Path

import pytest

from sipfarm.admin.io.client import Refused
from sipfarm.cli.admin_options import ADMIN, client_of, print_json, print_table
from tests.cli.test_provision import MEMBER


def test_the_farm_is_where_the_option_says_or_on_this_machine() -> None:
    assert client_of("", "", None).url == ADMIN
    assert client_of("127.0.0.1:9000", "", None).url == "http://127.0.0.1:9000"
    with pytest.raises(Refused):
        client_of("gopher://x", "", None)


def test_a_members_file_says_what_options_leave_open(tmp_path: Path) -> None:
    file = tmp_path / "member.toml"
    file.write_text(MEMBER.format(store="sqlite:farm.db") + 'token = "a token of a test"\n')
    assert client_of("", "", file).url == "http://127.0.0.1:8061"
    assert client_of("127.0.0.1:9000", "", file).url == "http://127.0.0.1:9000"


def test_what_a_peer_wrote_moves_no_cursor_and_is_no_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table("Calls", ("caller",), [("sip:[red]x\x1b[2J@example.test",)])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "sip:[red]x\N{REPLACEMENT CHARACTER}[2J@example.test" in out


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Calls", ("caller",), [])
    assert capsys.readouterr().out == "Calls: none\n"


def test_json_is_for_people_too(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([{"name": "m1"}])
    assert capsys.readouterr().out == '[\n  {\n    "name": "m1"\n  }\n]\n'
