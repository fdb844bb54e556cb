import pytest

from sipfarm.base.errors import ConfigError
from sipfarm.base.toml_lines import TomlLines
from sipfarm.base.toml_reader import TomlDocument

TEXT = '''# a comment = 1
top = 1
[farm]   # what all agree on
name = "f"
"quoted key" = 2
text = """
name = "not this one"
[sip]
"""
[sip]
listen = [
  "udp:127.0.0.1:5061",
  "bad = here",
]
[[domain]]
name = "a"
  [[domain.account]]
  name = "x"
  [[domain.account]]
  name = "y"
[[domain]]
name = "b"
  [[domain.account]]
  name = "z"
[a.b]
c.d = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("farm",), 3),
        (("farm", "name"), 4),
        (("farm", "quoted key"), 5),
        (("sip",), 10),
        (("sip", "listen"), 11),
        (("sip", "missing"), 10),
        (("domain", 0, "name"), 16),
        (("domain", 0, "account", 1, "name"), 20),
        (("domain", 1), 21),
        (("domain", 1, "account", 0, "name"), 24),
        (("domain", 1, "account", 0, "password"), 23),
        (("a", "b", "c", "d"), 26),
        (("nowhere",), 0),
    ],
)
def test_the_line_of_a_key_is_found(path: tuple[str | int, ...], line: int) -> None:
    assert TomlLines(TEXT).line(path) == line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[farm]\nname = \n", "f.toml:2: no TOML: invalid value"),
        ("[farm]\nname = 1\nname = 2\n", "f.toml:3: no TOML: "),
        ('a = "', "f.toml:1: no TOML: "),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(text: str, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TomlDocument(text, "f.toml")
    assert str(caught.value).startswith(shown)
