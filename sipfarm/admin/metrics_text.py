"""The metrics of several members as one page: Prometheus wants each family in one place."""

from collections.abc import Iterable


def merged(pages: Iterable[str]) -> str:
    """Join pages that differ in the labels of their samples, such as `member`."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for page in pages:
        family = ""
        for line in page.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
            if not line.startswith("#"):
                samples.setdefault(family, []).append(line)
            elif line not in heads.setdefault(family, []):
                heads[family].append(line)
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, ()))]
    return "".join(f"{line}\n" for line in lines)
