import pytest

from sipfarm.base.errors import ConfigError
from sipfarm.base.secrets import Secret
from sipfarm.provisioning import ProvisionAccount, ProvisionApplication, parse

FILE = """[[domain]]
name = "Example.TEST"
media_address = "192.0.2.1"
  [[domain.account]]
  name = "alice"
  password = "wonderland"
  numbers = ["1001"]
  voicemail = true
  [[domain.account]]
  name = "bob"
  password = "builder"
  aliases = ["robert"]
  [[domain.application]]
  name = "echo"
  numbers = ["600"]
  [[domain.application]]
  name = "weather"
  task = "provider.weather:task"
[[domain]]
name = "192.0.2.7"
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "p.toml")
    return str(caught.value).splitlines()


def test_domains_accounts_and_applications_are_read() -> None:
    example, address = parse(FILE, "p.toml").domains
    assert (example.name, example.media_address) == ("example.test", "192.0.2.1")
    assert example.accounts == (
        ProvisionAccount(
            name="alice", password=Secret("wonderland"), numbers=("1001",), voicemail=True
        ),
        ProvisionAccount(name="bob", password=Secret("builder"), aliases=("robert",)),
    )
    assert example.applications == (
        ProvisionApplication(name="echo", numbers=("600",)),
        ProvisionApplication(name="weather", task="provider.weather:task"),
    )
    assert address.name == "192.0.2.7"
    assert (example.srtp, address.srtp) == ("off", "off")
    wanted = FILE.replace('"192.0.2.1"', '"192.0.2.1"\nsrtp = "require"')
    assert [domain.srtp for domain in parse(wanted, "p.toml").domains] == ["require", "off"]


@pytest.mark.parametrize(
    ("wrong", "right", "problem"),
    [
        ('name = "alice"', 'name = "a b"', '5: [[domain.account]] name: "a b": allowed are'),
        ('password = "builder"', "", "9: [[domain.account]] password: is missing"),
        ('password = "builder"', 'pasword = "x"', "9: [[domain.account]] password: is missing"),
        ('"1001"', '"1-1"', '7: [[domain.account]] numbers: "1-1": allowed are'),
        ('"600"', '"1001"', '15: [[domain.application]] numbers: "1001" stands there twice'),
        ('"bob"', '"alice"', '10: [[domain.account]] name: "alice" stands there twice'),
        ('"robert"', '"alice"', '12: [[domain.account]] aliases: "alice" stands there twice'),
        ('"echo"', '"ecko"', '14: [[domain.application]] name: "ecko" has no task'),
        ('"192.0.2.7"', '"EXAMPLE.test"', '20: [[domain]] name: "example.test" stands there tw'),
        ('"192.0.2.7"', '"a b"', '20: [[domain]] name: "a b" is neither a host name nor'),
        ("voicemail = true", "voicemail = 1", "8: [[domain.account]] voicemail: must be true or"),
        ("provider.weather:task", "weather", '18: [[domain.application]] task: "weather": must'),
        ('"192.0.2.1"', '"0.0.0.0"', '3: [[domain]] media_address: "0.0.0.0": write the one'),
        ('media_address = "192.0.2.1"', 'srtp = "on"', '3: [[domain]] srtp: "on": allowed are off'),
        ('media_address = "192.0.2.1"', 'key = "k"', "3: [[domain]] key: certificate and key go"),
    ],
)
def test_a_fault_is_told_with_file_line_key_and_what_is_allowed(
    wrong: str, right: str, problem: str
) -> None:
    text = FILE.replace(wrong, right, 1)
    assert text != FILE
    assert problems(text)[0].startswith(f"p.toml:{problem}")


@pytest.mark.parametrize("text", ["", "[farm]\n", "domain = 3\n", "[domain]\n", "domain = []\n"])
def test_a_file_without_a_domain_is_refused(text: str) -> None:
    assert problems(text)


def test_a_password_does_not_show_itself() -> None:
    assert "wonderland" not in repr(parse(FILE, "p.toml"))
