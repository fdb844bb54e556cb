import json
import logging
from io import StringIO

import pytest

from sipfarm.base.io.logs import configure_logs, get_log
from sipfarm.base.secrets import Secret, farm_keys, hkdf_sha256


def test_hkdf_gives_what_rfc_5869_says() -> None:
    """Appendix A.1."""
    assert (
        hkdf_sha256(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42).hex()
        == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


def test_hkdf_without_salt_gives_what_rfc_5869_says() -> None:
    """Appendix A.3."""
    assert (
        hkdf_sha256(b"\x0b" * 22, b"", b"", 42).hex()
        == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_each_purpose_has_a_key_of_its_own() -> None:
    keys = farm_keys(Secret("0123456789abcdef"))
    assert len({keys.mark, keys.bus, keys.nonce}) == 3
    assert (len(keys.mark), len(keys.bus), len(keys.nonce)) == (16, 32, 32)


def test_the_same_secret_gives_the_same_keys_and_another_gives_others() -> None:
    assert farm_keys(Secret("0123456789abcdef")) == farm_keys(Secret("0123456789abcdef"))
    assert farm_keys(Secret("0123456789abcdef")).bus != farm_keys(Secret("0123456789abcdeg")).bus


def test_neither_a_secret_nor_a_key_shows_itself() -> None:
    secret = Secret("0123456789abcdef")
    for shown in (repr(secret), str(secret), f"{secret}", repr(farm_keys(secret))):
        assert "***" in shown
        assert "0123" not in shown


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_log_hides_what_is_secret(log_format: str) -> None:
    output = StringIO()
    configure_logs("json" if log_format == "json" else "text", stream=output)
    get_log(member="m1").info("token_changed", token="abc123", password=Secret("def456"), n=1)
    line = output.getvalue()
    assert "token_changed" in line
    assert "m1" in line
    assert "abc123" not in line
    assert "def456" not in line


def test_a_library_speaks_in_the_same_form() -> None:
    output = StringIO()
    configure_logs("json", stream=output)
    logging.getLogger("uvicorn.error").warning("out of %s", "paper")
    event = json.loads(output.getvalue())
    assert event["event"] == "library_logged"
    assert event["library"] == "uvicorn.error"
    assert event["message"] == "out of paper"


def test_levels_below_the_wanted_one_are_silent() -> None:
    output = StringIO()
    configure_logs("text", "warning", stream=output)
    get_log().info("call_began")
    get_log().warning("limit_reached")
    assert output.getvalue().count("\n") == 1
