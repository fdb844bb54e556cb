"""Print the requirements of pyproject.toml by group: run, build, or the name of an extra."""

import sys
import tomllib
from pathlib import Path


def main() -> None:
    pyproject = tomllib.loads(Path("pyproject.toml").read_text())
    groups = {
        "run": pyproject["project"]["dependencies"],
        "build": pyproject["build-system"]["requires"],
        **pyproject["project"]["optional-dependencies"],
    }
    for group in sys.argv[1:]:
        print(*(requirement.replace(" ", "") for requirement in groups[group]))


if __name__ == "__main__":
    main()
