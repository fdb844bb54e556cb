import pytest
from prometheus_client.parser import text_string_to_metric_families

from sipfarm.base.errors import UsageError
from sipfarm.base.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_label_set_is_shown_from_the_start() -> None:
    metrics = Metrics({"member": "m1"})
    drops = metrics.counter("sip_drops", "Dropped packets.", {"reason": ("malformed", "banned")})
    drops.add("banned", by=2)
    assert samples(metrics) == {
        ("sip_drops_total", (("member", "m1"), ("reason", "malformed"))): 0,
        ("sip_drops_total", (("member", "m1"), ("reason", "banned"))): 2,
    }


def test_a_label_that_was_not_named_is_refused() -> None:
    metrics = Metrics()
    drops = metrics.counter("sip_drops", "Dropped packets.", {"reason": ("malformed",)})
    load = metrics.gauge("load", "Load.", {"of": ("cpu",)})
    with pytest.raises(KeyError):
        drops.add("from-a-peer")
    with pytest.raises(KeyError):
        load.set(1.0, "from-a-peer")


def test_a_name_is_used_once() -> None:
    metrics = Metrics()
    metrics.gauge("calls", "Calls.")
    with pytest.raises(UsageError):
        metrics.counter("calls", "Calls.")


def test_too_many_label_sets_are_refused() -> None:
    with pytest.raises(UsageError):
        Metrics().counter("calls", "Calls.", {"a": map(str, range(300))})


def test_a_histogram_counts_into_buckets_that_add_up() -> None:
    metrics = Metrics()
    histogram = metrics.histogram("lag_seconds", "Loop lag.", bounds=(0.01, 0.1))
    for value in (0.005, 0.01, 0.05, 7.0):
        histogram.observe(value)
    shown = samples(metrics)
    assert shown["lag_seconds_bucket", (("le", "0.01"),)] == 2
    assert shown["lag_seconds_bucket", (("le", "0.1"),)] == 3
    assert shown["lag_seconds_bucket", (("le", "+Inf"),)] == 4
    assert shown["lag_seconds_sum", ()] == pytest.approx(7.065)


def test_what_someone_else_counts_is_read_when_it_is_shown() -> None:
    metrics = Metrics()
    values = {"rx": 1}
    metrics.read_counter(
        "packets", "Packets.", ("way",), lambda: [((key,), n) for key, n in values.items()]
    )
    values["rx"] = 5
    assert samples(metrics)["packets_total", (("way", "rx"),)] == 5
