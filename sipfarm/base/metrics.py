"""Counters, gauges and histograms as objects that are handed in; nothing is registered globally.

Label sets are closed: the values of each label are named when the metric is made, so no peer can
make a table grow.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, product

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from sipfarm.base.errors import UsageError
from sipfarm.base.limits import LABEL_SETS_PER_METRIC_MAX

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS_BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 32.0)
"""From a loop's turn to timer B."""

Labels = Mapping[str, Iterable[str]]


class Counter:
    """A number that only grows."""

    def __init__(self, name: str, labels: Labels) -> None:
        self._values = _closed_table(name, labels)

    def add(self, *labels: str, by: int = 1) -> None:
        self._values[labels] += by

    def value(self, *labels: str) -> float:
        return self._values[labels]

    def items(self) -> Iterable[tuple[tuple[str, ...], float]]:
        return self._values.items()


class Gauge:
    """A number as it stands."""

    def __init__(self, name: str, labels: Labels) -> None:
        self._values = _closed_table(name, labels)

    def set(self, value: float, *labels: str) -> None:
        if labels not in self._values:
            raise KeyError(labels)
        self._values[labels] = value

    def value(self, *labels: str) -> float:
        return self._values[labels]

    def items(self) -> Iterable[tuple[tuple[str, ...], float]]:
        return self._values.items()


class Histogram:
    """How often a measure fell into each bucket, and its sum."""

    def __init__(self, name: str, labels: Labels, bounds: Sequence[float]) -> None:
        if list(bounds) != sorted(set(bounds)) or not bounds:
            raise UsageError(f"{name}: bounds must rise")
        self.bounds = tuple(bounds)
        self._sums = _closed_table(name, labels)
        self._counts = {key: [0] * (len(bounds) + 1) for key in self._sums}

    def observe(self, value: float, *labels: str) -> None:
        self._counts[labels][bisect_left(self.bounds, value)] += 1
        self._sums[labels] += value

    def items(self) -> Iterable[tuple[tuple[str, ...], list[int], float]]:
        return ((key, counts, self._sums[key]) for key, counts in self._counts.items())


class Metrics:
    """The metrics of one member. `constant_labels` (the member's name) stand on every sample."""

    def __init__(self, constant_labels: Mapping[str, str] | None = None) -> None:
        self._constant = dict(constant_labels or {})
        self._collectors: dict[str, Callable[[], Metric]] = {}

    def counter(self, name: str, text: str, labels: Labels | None = None) -> Counter:
        """A counter; its name ends in `_total` when shown."""
        counter = Counter(name, labels or {})
        self.read_counter(name, text, tuple(labels or ()), counter.items)
        return counter

    def gauge(self, name: str, text: str, labels: Labels | None = None) -> Gauge:
        gauge = Gauge(name, labels or {})
        self.read_gauge(name, text, tuple(labels or ()), gauge.items)
        return gauge

    def histogram(
        self,
        name: str,
        text: str,
        labels: Labels | None = None,
        bounds: Sequence[float] = SECONDS_BUCKETS,
    ) -> Histogram:
        histogram = Histogram(name, labels or {}, bounds)
        label_names = (*self._constant, *(labels or ()))

        def collect() -> Metric:
            family = HistogramMetricFamily(name, text, labels=label_names)
            for key, counts, total in histogram.items():
                bounds_text = [*(str(bound) for bound in histogram.bounds), "+Inf"]
                buckets = list(zip(bounds_text, accumulate(counts), strict=True))
                family.add_metric([*self._constant.values(), *key], buckets, total)
            return family

        self._register(name, collect)
        return histogram

    def read_counter(
        self,
        name: str,
        text: str,
        label_names: Sequence[str],
        read: Callable[[], Iterable[tuple[Sequence[str], float]]],
    ) -> None:
        """A counter that someone else keeps, the native engine for one: read when it is shown."""
        self._read(CounterMetricFamily, name, text, label_names, read)

    def read_gauge(
        self,
        name: str,
        text: str,
        label_names: Sequence[str],
        read: Callable[[], Iterable[tuple[Sequence[str], float]]],
    ) -> None:
        """A gauge that someone else keeps: read when it is shown."""
        self._read(GaugeMetricFamily, name, text, label_names, read)

    def collect(self) -> Iterable[Metric]:
        """All metrics, in the order they were made (the face that prometheus_client asks for)."""
        return (collect() for collect in self._collectors.values())

    def render(self) -> bytes:
        """All metrics as Prometheus text, to be sent as `CONTENT_TYPE`."""
        return generate_latest(self)

    def _read(
        self,
        kind: type[CounterMetricFamily | GaugeMetricFamily],
        name: str,
        text: str,
        label_names: Sequence[str],
        read: Callable[[], Iterable[tuple[Sequence[str], float]]],
    ) -> None:
        def collect() -> Metric:
            family = kind(name, text, labels=(*self._constant, *label_names))
            for key, value in read():
                family.add_metric([*self._constant.values(), *key], value)
            return family

        self._register(name, collect)

    def _register(self, name: str, collect: Callable[[], Metric]) -> None:
        if name in self._collectors:
            raise UsageError(f"two metrics are named {name}")
        self._collectors[name] = collect


def _closed_table(name: str, labels: Labels) -> dict[tuple[str, ...], float]:
    table: dict[tuple[str, ...], float] = dict.fromkeys(product(*labels.values()), 0.0)
    if len(table) > LABEL_SETS_PER_METRIC_MAX:
        raise UsageError(
            f"{name} has {len(table)} label sets, more than {LABEL_SETS_PER_METRIC_MAX}"
        )
    return table
