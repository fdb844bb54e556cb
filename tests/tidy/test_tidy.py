"""What the project agrees on and a machine can check."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "sipfarm"
NATIVE = PACKAGE / "native" / "src"
NOT_OURS = {".git", ".venv", "build", "dist", "__pycache__"}
TEXT_SUFFIXES = {
    "", ".c", ".cpp", ".css", ".hpp", ".html", ".js", ".json", ".md", ".py", ".pyi", ".service",
    ".sh", ".toml", ".txt", ".xml", ".yaml", ".yml",
}  # fmt: skip
SOURCE_SUFFIXES = {".c", ".cpp", ".hpp", ".py", ".sh"}

LINES_MAX = 600
LONG_FILES: dict[str, str] = {}
"""Files above LINES_MAX, and why they are not split."""

IO_MODULES = {
    "fcntl", "http", "multiprocessing", "os", "random", "redis", "secrets", "select", "selectors",
    "signal", "socket", "sqlite3", "ssl", "subprocess", "threading", "time", "urllib.request",
    "uuid", "uvicorn", "uvloop",
}  # fmt: skip
IO_CALLS = {
    "create_datagram_endpoint", "create_server", "open_connection", "open_unix_connection",
    "run_in_executor", "start_server", "start_unix_server", "to_thread",
}  # fmt: skip
EDGES = ("sipfarm/cli/", "sipfarm/testing/")
"""Beside `/io/`: the command line, and the test kit that stands in for the outside."""

IO_OUTSIDE_IO = {
    "sipfarm/config/reader.py": "os: the environment that a secret may stand in",
}
"""Files without `/io/` that ask the machine for something, and for what."""

MAY_THROW = {
    "sipfarm/native/src/audio/dtmf_detector.cpp": "construction: no memory",
    "sipfarm/native/src/audio/resampler.cpp": "construction: no memory",
    "sipfarm/native/src/rtp/descriptors.cpp": "construction: no epoll or eventfd",
    "sipfarm/native/src/rtp/plane.cpp": "construction: an address that cannot be bound",
}
"""C++ files that throw: in construction only, never for what a peer sent."""

ALLOCATES = {
    "sipfarm/native/src/sip/message_pool.hpp": "the pool, which makes what it hands out again",
}
"""C++ files with `new` and `delete`."""

CATCHES_ALL = {
    "sipfarm/cluster/io/sqlite_changes.py": "the error belongs to who waits on the other thread",
    "sipfarm/node/dispatch.py": "the boundary of a request: a policy's fault fails it alone",
    "sipfarm/node/inheritance.py": "the boundary of a kept call: another release may have kept it",
    "sipfarm/pbx/task.py": "the boundary of an application: its fault ends its call alone",
    "sipfarm/testing/scenarios.py": "an exception in the simulated farm is a violation too",
}

OWN_TASKS = {
    "sipfarm/cluster/io/redis_pipe.py": "held by the pipe, cancelled and awaited by its stop",
}
"""Files that start a task without a group, and who owns it."""

ENTRY_POINTS = {"sipfarm.cli.main"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def files(*suffixes: str, under: Path = ROOT) -> list[Path]:
    found = (
        path
        for path in under.rglob("*")
        if path.suffix in suffixes
        and path.is_file()
        and not NOT_OURS & set(path.relative_to(ROOT).parts)
        and not any(part.startswith(".") and part.endswith("_cache") for part in path.parts)
        and ".hypothesis" not in path.parts
    )
    return sorted(found)


def lines_with(pattern: str, paths: list[Path]) -> list[str]:
    expression = re.compile(pattern)
    return [
        f"{relative(path)}:{number}: {line.strip()[:100]}"
        for path in paths
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if expression.search(line)
    ]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def code_of(path: Path) -> str:
    """C++ without its comments and texts, line by line as it was."""
    pattern = r'//[^\n]*|/\*.*?\*/|R"\(.*?\)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\''
    return re.sub(
        pattern, lambda found: "\n" * found[0].count("\n"), text_of(path), flags=re.DOTALL
    )


def is_io(path: Path) -> bool:
    name = relative(path)
    return "io" in path.relative_to(ROOT).parts or name.startswith(EDGES) or name in IO_OUTSIDE_IO


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def python_files(under: Path = PACKAGE) -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(text_of(path))) for path in files(".py", under=under)]


def test_a_note_of_work_to_do_names_its_issue() -> None:
    words = "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X"))
    assert not lines_with(rf"\b({words})\b(?! ?\(#\d+\))", files(*TEXT_SUFFIXES))


def test_every_module_has_an_importer_or_is_an_entry_point() -> None:
    product = python_files()
    used = set(ENTRY_POINTS)
    for path, tree in product:
        names = {name for name, _ in imports(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.update(re.findall(r"\bsipfarm(?:\.\w+)+", node.value))
        used |= names - {module_name(path)}
    kit = {
        name
        for folder in ("tests", "loadtests", "examples")
        for _, tree in python_files(ROOT / folder)
        for name, _ in imports(tree)
        if name.startswith("sipfarm.testing")
    }
    kit |= set(re.findall(r"sipfarm\.testing\.\w+", text_of(ROOT / "Makefile")))
    lonely = [
        module_name(path)
        for path, _ in product
        if path.name not in {"__init__.py", "__main__.py"} and module_name(path) not in used | kit
    ]
    assert not lonely


def test_only_bindings_include_nanobind() -> None:
    outside = [path for path in files(".cpp", ".hpp") if NATIVE / "bind" not in path.parents]
    assert not lines_with(r"#\s*include\s*[<\"]nanobind", outside)


def test_the_packet_path_neither_allocates_by_hand_nor_throws() -> None:
    found: list[str] = []
    for path in files(".cpp", ".hpp", under=NATIVE):
        if NATIVE / "bind" in path.parents:
            continue
        for number, line in enumerate(code_of(path).splitlines(), start=1):
            code = re.sub(r"=\s*delete\b|#\s*include.*|operator\s+(new|delete)", "", line)
            allocates = re.search(r"\b(new|delete)\b", code) and relative(path) not in ALLOCATES
            throws = re.search(r"\bthrow\b", code) and relative(path) not in MAY_THROW
            if allocates or throws:
                found.append(f"{relative(path)}:{number}: {line.strip()}")
    assert not found


def test_only_io_paths_ask_the_machine() -> None:
    found: list[str] = []
    for path, tree in python_files():
        if is_io(path):
            continue
        found += [
            f"{relative(path)}:{line}: import {name}"
            for name, line in imports(tree)
            if name in IO_MODULES or name.partition(".")[0] in IO_MODULES
        ]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in IO_CALLS:
                found.append(f"{relative(path)}:{node.lineno}: {node.attr}")
    assert not found


def test_every_task_is_started_by_a_group() -> None:
    found = [
        f"{relative(path)}:{node.lineno}: {ast.unparse(node)}"
        for path, tree in python_files()
        if relative(path) not in OWN_TASKS
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (
            (node.attr == "create_task" and re.search(r"asyncio|loop", ast.unparse(node.value)))
            or node.attr == "ensure_future"
        )
    ]
    assert not found


def test_only_a_boundary_catches_everything() -> None:
    found = [
        f"{relative(path)}:{node.lineno}"
        for path, tree in python_files()
        if relative(path) not in CATCHES_ALL
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and not any(isinstance(inner, ast.Raise) and not inner.exc for inner in ast.walk(node))
    ]
    assert not found


def test_an_event_of_the_log_is_a_name_and_no_sentence() -> None:
    found: list[str] = []
    for path, tree in python_files():
        for node in ast.walk(tree):
            if not (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args
            ):
                continue
            levels = {"debug", "info", "warning", "error", "exception"}
            if node.func.attr not in levels or not ast.unparse(node.func.value).endswith("log"):
                continue
            event = node.args[0]
            well = isinstance(event, ast.Constant) and re.fullmatch(r"[a-z0-9_]+", str(event.value))
            if not well:
                found.append(f"{relative(path)}:{node.lineno}: {ast.unparse(event)[:80]}")
    assert not found


def test_no_file_names_a_registry_or_a_path_of_somebodys_machine() -> None:
    hosts = "|".join(
        rf"{name}\.{domain}"
        for name, domain in (
            ("pypi", "org"), ("python" + "hosted", "org"), ("npmjs", "(?:org|com)"),
            ("crates", "io"), ("docker", "io"), ("anaconda", "org"), ("conan", "io"),
        )
    )  # fmt: skip
    places = r"(?<![\w.~-])/(?:work|root|home/[a-z]\w*|Users/\w+|tmp/v)(?=[/\s\"']|$)"
    assert not lines_with(rf"\b(?:{hosts})\b|{places}", files(*TEXT_SUFFIXES))


def test_a_long_file_is_listed_with_its_reason() -> None:
    long = {
        relative(path)
        for path in files(*SOURCE_SUFFIXES)
        if len(text_of(path).splitlines()) > LINES_MAX
    }
    assert long == set(LONG_FILES)


def test_no_test_is_skipped_or_sleeps() -> None:
    python = [path for path in files(".py", under=ROOT / "tests") if path != Path(__file__)]
    native = files(".cpp", under=ROOT / "tests")
    assert not lines_with(r"\bpytest\.(mark\.)?skip|\bimportorskip\b|\bsleep\(", python)
    assert not lines_with(r"doctest::(skip|may_fail)|sleep_for\(|\busleep\(", native)


def test_requirements_are_pinned_by_version_and_nothing_else() -> None:
    lines = text_of(ROOT / "constraints.txt").split("\n")
    wrong = [line for line in lines if line and not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    assert not wrong


@pytest.mark.parametrize("part", ["run", "test"])
def test_system_packages_stand_one_a_line_and_in_order(part: str) -> None:
    found: list[str] = []
    on = False
    for line in text_of(ROOT / "system-packages.txt").splitlines():
        if line.startswith("#"):
            on = line.startswith(f"# {part}:")
        elif on and line:
            found.append(line)
    assert found
    assert found == sorted(set(found))
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package) for package in found)
