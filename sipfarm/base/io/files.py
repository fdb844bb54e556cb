"""Reading files that an operator named."""

import os
from pathlib import Path

from sipfarm.base.errors import ConfigError, ConfigProblem


def read_text(path: Path) -> str:
    """The text of a file; ConfigError if there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = f"cannot be read: {(error.strerror or str(error)).lower()}"
    except UnicodeDecodeError:
        reason = "is no UTF-8 text"
    raise ConfigError([ConfigProblem(str(path), 0, "", reason)])


def is_readable(path: Path) -> bool:
    """Whether it is a file that this process may read."""
    return path.is_file() and os.access(path, os.R_OK)
