"""Declared metrics in use: counted, set, observed, and written out in Prometheus' text format.

`Figures` has a registry of its own, so several programs (or tests) in one process don't share numbers.
`NoFigures` takes the same calls and keeps nothing: a program that publishes nothing doesn't load the Prometheus client.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from suanwang.measure.metrics import Metric

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge, Histogram


class Recorder(Protocol):
    """Where a program puts its figures. `labels` are the metric's, by name."""

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Count up a counter."""

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Enter a value in a histogram."""

    def forget(self, metric: Metric, **labels: str) -> None:
        """Publish these series no more: all whose labels have the values given."""


class NoFigures:
    """Keeps nothing."""

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """See `Recorder`."""

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """See `Recorder`."""

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """See `Recorder`."""

    def forget(self, metric: Metric, **labels: str) -> None:
        """See `Recorder`."""


class Figures:
    """Keeps the declared metrics; thread-safe. Series beyond a metric's `limit` are left out."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, metrics: Iterable[Metric]) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        self._series: dict[str, set[tuple[str, ...]]] = {}
        self._lock = threading.Lock()
        self._collectors: dict[str, Counter | Gauge | Histogram] = {}
        for metric in metrics:
            collector: Counter | Gauge | Histogram
            if metric.kind == "counter":
                collector = Counter(metric.name, metric.meaning, metric.labels, registry=self._registry)
            elif metric.kind == "gauge":
                collector = Gauge(metric.name, metric.meaning, metric.labels, registry=self._registry)
            else:
                collector = Histogram(
                    metric.name, metric.meaning, metric.labels, registry=self._registry, buckets=metric.buckets
                )
            self._collectors[metric.name] = collector

    def _one(self, metric: Metric, labels: dict[str, str]) -> Counter | Gauge | Histogram | None:
        collector = self._collectors[metric.name]
        if not metric.labels:
            return collector
        values = tuple(labels[name] for name in metric.labels)
        if metric.limit:
            with self._lock:
                series = self._series.setdefault(metric.name, set())
                if values not in series and len(series) >= metric.limit:
                    return None
                series.add(values)
        return collector.labels(*values)

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """See `Recorder`."""
        if (one := self._one(metric, labels)) is not None:
            one.inc(amount)  # type: ignore[union-attr]

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """See `Recorder`."""
        if (one := self._one(metric, labels)) is not None:
            one.set(value)  # type: ignore[union-attr]

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """See `Recorder`."""
        if (one := self._one(metric, labels)) is not None:
            one.observe(value)  # type: ignore[union-attr]

    def forget(self, metric: Metric, **labels: str) -> None:
        """See `Recorder`."""
        wanted = [(metric.labels.index(name), value) for name, value in labels.items()]
        with self._lock:
            series = self._series.get(metric.name, set())
            gone = {values for values in series if all(values[place] == value for place, value in wanted)}
            series -= gone
        for values in gone:
            self._collectors[metric.name].remove(*values)

    def text(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)
