"""The directory of `sipfarm run`: the secret, the store and the members' files."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sipfarm.base.errors import StartError
from sipfarm.base.secrets import SECRET_BYTES_MIN, Secret
from sipfarm.config import Config
from sipfarm.node.member_toml import toml_of

SECRET_FILE: Final = "secret"
STORE_FILE: Final = "farm.db"
LOCK_FILE: Final = "lock"
SECRET_BYTES: Final = 32


class FarmDirectory:
    """A directory that this process has for itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def store(self) -> str:
        return f"sqlite:{self.path / STORE_FILE}"

    def secret(self) -> Secret:
        """The farm's secret; made and kept the first time."""
        file = self.path / SECRET_FILE
        try:
            if not file.exists():
                _write_private(file, secrets.token_hex(SECRET_BYTES) + "\n")
            text = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"{file} cannot be used: {_why(error)}") from error
        if len(text) < SECRET_BYTES_MIN:
            raise StartError(f"{file} holds no secret: remove it, and a new one is made")
        return Secret(text)

    def write_members(self, members: Sequence[Config]) -> tuple[Path, ...]:
        """A file for each member, such as `m1.toml`; those of an earlier run are replaced."""
        files = tuple(self.path / f"{config.member.name}.toml" for config in members)
        for file, config in zip(files, members, strict=True):
            try:
                _write_private(file, toml_of(config))
            except OSError as error:
                raise StartError(f"{file} cannot be written: {_why(error)}") from error
        return files


@contextmanager
def farm_directory(path: Path) -> Generator[FarmDirectory]:
    """Make the directory if need be, and hold it: two farms in it would be one to their members."""
    try:
        path = path.absolute()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"the data directory {path} cannot be used: {_why(error)}") from error
    with contextlib.closing(os.fdopen(lock, "r+")) as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(
                f"the data directory {path} belongs to a farm that runs; --data names another"
            ) from error
        yield FarmDirectory(path)


def _write_private(file: Path, text: str) -> None:
    """Write all or nothing, readable for the owner only."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    fresh.replace(file)


def _why(error: OSError | UnicodeDecodeError) -> str:
    text = error.strerror if isinstance(error, OSError) else None
    return (text or str(error)).lower()
