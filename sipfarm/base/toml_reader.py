"""Reading a TOML file that an operator wrote: every fault in it is told, with its line."""

import difflib
import tomllib
from collections.abc import Callable
from typing import Self, TypeVar, cast

from sipfarm.base.errors import ConfigError, ConfigProblem
from sipfarm.base.toml_lines import Path, TomlLines

T = TypeVar("T")
Reader = Callable[[object], T]
"""Makes a value of what TOML gave; raises ValueError that says what is allowed."""


class TomlDocument:
    """One file being read, and what was found wrong in it so far."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.problems: list[ConfigProblem] = []
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line, reason = _syntax_error(str(error), text)
            raise ConfigError([ConfigProblem(file, line, "", f"no TOML: {reason}")]) from error
        self._lines = TomlLines(text)
        self.root = TomlTable(self, (), values)

    def refuse(self, path: Path, reason: str) -> None:
        """Note what is wrong with a key, or with a whole table."""
        line = self._lines.line(path)
        self.problems.append(ConfigProblem(self.file, line, _key_text(path), reason))

    def finish(self) -> None:
        """Raise ConfigError if anything was wrong, in the order of the lines."""
        if self.problems:
            raise ConfigError(sorted(self.problems, key=lambda problem: problem.line))


class TomlTable:
    """One table of the file. Keys that nobody took are refused by `close`."""

    def __init__(self, document: TomlDocument, path: Path, values: dict[str, object]) -> None:
        self._document = document
        self._path = path
        self._values = values
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, read: Reader[T], default: T) -> T:
        """The value of an optional key."""
        self._known.append(key)
        if key not in self._values:
            return default
        try:
            return read(self._values[key])
        except ValueError as error:
            self.refuse(key, str(error))
            return default

    def require(self, key: str, read: Reader[T], stand_in: T) -> T:
        """The value of a key that must be there; a file that needs the stand-in is refused."""
        if key not in self._values:
            self.refuse(key, "is missing")
        return self.take(key, read, stand_in)

    def table(self, key: str) -> Self:
        """The table of that name; an empty one if it is not there."""
        self._known.append(key)
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            self.refuse(key, f"must be a table: write [{key}]")
            value = {}
        values = cast("dict[str, object]", value)  # TOML keys are strings
        return type(self)(self._document, (*self._path, key), values)

    def tables(self, key: str) -> list[Self]:
        """The array of tables of that name."""
        self._known.append(key)
        value = self._values.get(key, [])
        items = cast("list[object]", value) if isinstance(value, list) else [None]
        if not all(isinstance(item, dict) for item in items):
            dotted = ".".join(part for part in (*self._path, key) if isinstance(part, str))
            self.refuse(key, f"must be tables: write [[{dotted}]]")
            return []
        return [
            type(self)(
                self._document, (*self._path, key, index), cast("dict[str, object]", item)
            )  # checked above
            for index, item in enumerate(items)
        ]

    def refuse(self, key: str, reason: str) -> None:
        """Note what is wrong with a key of this table, or with the table if the key is empty."""
        self._document.refuse((*self._path, key) if key else self._path, reason)

    def close(self) -> None:
        """Refuse the keys that nobody asked for."""
        for key in self._values:
            if key in self._known:
                continue
            near = difflib.get_close_matches(key, self._known, n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"allowed are {', '.join(self._known)}"
            self.refuse(key, f"unknown key; {hint}")


def _key_text(path: Path) -> str:
    """`[farm] secret`, `[[domain.account]] name`, or the key alone where it stands in no table."""
    if not path:
        return ""
    *table, last = path
    if isinstance(last, int):
        table, last = [*path], ""
    names = ".".join(part for part in table if isinstance(part, str))
    if not names:
        return f"[{last}]"
    is_array = any(isinstance(part, int) for part in table)
    header = f"[[{names}]]" if is_array else f"[{names}]"
    return f"{header} {last}".strip()


def _syntax_error(message: str, text: str) -> tuple[int, str]:
    reason, _, where = message.partition(" (at ")
    words = where.removesuffix(")").replace(",", "").split()
    if len(words) > 1 and words[0] == "line" and words[1].isdigit():
        return int(words[1]), reason[:1].lower() + reason[1:]
    return text.count("\n") + 1, reason[:1].lower() + reason[1:]
