from pathlib import Path

import pytest

from sipfarm.base.errors import StartError
from sipfarm.node.io.farm_directory import farm_directory


def test_the_secret_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    with farm_directory(data) as directory:
        secret = directory.secret()
        assert directory.secret() == secret
    with farm_directory(data) as directory:
        assert directory.secret() == secret
    assert len(secret.reveal()) == 64
    assert (data / "secret").stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 40])
def test_a_secret_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with farm_directory(tmp_path) as directory, pytest.raises(StartError, match="secret"):
        directory.secret()


def test_a_directory_has_one_farm(tmp_path: Path) -> None:
    with (
        farm_directory(tmp_path),
        pytest.raises(StartError, match="belongs to a farm that runs"),
        farm_directory(tmp_path),
    ):
        pass
    with farm_directory(tmp_path):
        pass
