"""On which line of a TOML text a key stands; `tomllib` gives values only."""

import re

Path = tuple[str | int, ...]
"""`("domain", 0, "account", 2, "name")`: keys, and indices of arrays of tables."""

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"\s*\[\s*({_DOTTED})\s*\]\s*(?:#.*)?$")
_ARRAY_OF_TABLES = re.compile(rf"\s*\[\[\s*({_DOTTED})\s*\]\]\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=(.*)$")
_MULTI_LINE_QUOTE = re.compile(r'"""' + r"|'''")


class TomlLines:
    """The lines of tables and keys of one text that `tomllib` has accepted."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        counts: dict[Path, int] = {}
        table: Path = ()
        quote = ""
        for number, line in enumerate(text.splitlines(), start=1):
            if quote:
                quote = "" if quote in line else quote
                continue
            if match := _ARRAY_OF_TABLES.match(line):
                *parents, last = _split(match[1])
                array = (*_resolve(tuple(parents), counts), last)
                counts[array] = counts.get(array, 0) + 1
                table = (*array, counts[array] - 1)
                self._lines.setdefault(array, number)
                self._lines.setdefault(table, number)
            elif match := _TABLE.match(line):
                table = _resolve(_split(match[1]), counts)
                self._lines.setdefault(table, number)
            elif match := _ASSIGNMENT.match(line):
                keys = _split(match[1])
                for depth in range(1, len(keys) + 1):
                    self._lines.setdefault((*table, *keys[:depth]), number)
                quote = _open_quote(match[2])

    def line(self, path: Path) -> int:
        """The line of a key or table, else of what it stands in; 0 if there is none."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return 0


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(key.strip("\"'") for key in re.findall(_KEY, dotted))


def _resolve(keys: tuple[str, ...], counts: dict[Path, int]) -> Path:
    """A header names an array of tables without index: it means the latest one."""
    path: Path = ()
    for key in keys:
        path = (*path, key)
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _open_quote(value: str) -> str:
    """The quote of a multi-line string that begins here and does not end on its line."""
    match = _MULTI_LINE_QUOTE.search(value)
    if match is None or match[0] in value[match.end() :]:
        return ""
    return match[0]
