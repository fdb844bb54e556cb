"""The C++ programs of the load tests, built when asked for."""

import fcntl
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "native"
"""The tree of the Python module, so that what both are made of is compiled once."""


def build_programs(*names: str) -> dict[str, Path]:
    """Build `loadtests/native/NAME.cpp` for each name, optimised as the shipped module is.

    Tests on several workers ask for them at once: they wait for each other.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    commands = (
        ["cmake", "-S", ROOT, "-B", BUILD, "-D", "SIPFARM_LOADTESTS=ON"],
        ["cmake", "--build", BUILD, "--target", *names],
    )
    with (BUILD / "loadtests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"building the load tests failed:\n{done.stdout}{done.stderr}")
    return {name: BUILD / name for name in names}
