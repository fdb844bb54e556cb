from sipfarm.admin.metrics_text import merged
from sipfarm.base.metrics import Metrics


def page(member: str, value: float) -> str:
    metrics = Metrics({"member": member})
    metrics.gauge("calls", "calls held").set(value)
    metrics.histogram("turn_seconds", "a turn", bounds=[1.0]).observe(value)
    return metrics.render().decode()


def test_one_page_is_left_as_it_is() -> None:
    assert merged([page("m1", 1)]) == page("m1", 1)


def test_each_family_stands_in_one_place_with_one_head() -> None:
    lines = merged([page("m1", 1), page("m2", 2)]).splitlines()
    assert lines[:4] == [
        "# HELP calls calls held",
        "# TYPE calls gauge",
        'calls{member="m1"} 1.0',
        'calls{member="m2"} 2.0',
    ]
    heads = [line for line in lines if line.startswith("#")]
    assert len(heads) == len(set(heads))
    assert len(lines) == 2 * len(page("m1", 1).splitlines()) - len(heads)


def test_nothing_is_an_empty_page() -> None:
    assert merged([]) == ""
