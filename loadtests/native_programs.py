"""The C++ programs of the load tests, built when asked for."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "loadtests"


def build_programs(*names: str) -> dict[str, Path]:
    """Build `loadtests/native/NAME.cpp` for each name, optimised as the shipped module is."""
    configure = ["-D", "SIPFARM_MODULE=OFF", "-D", "SIPFARM_LOADTESTS=ON", "-G", "Ninja"]
    commands = (
        ["cmake", "-S", ROOT, "-B", BUILD, *configure],
        ["cmake", "--build", BUILD, "--target", *names],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"building the load tests failed:\n{done.stdout}{done.stderr}")
    return {name: BUILD / name for name in names}
