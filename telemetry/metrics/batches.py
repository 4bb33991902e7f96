"""Counting in batches: what a request adds is added up in plain numbers, and handed over to
prometheus_client a few times a second.

Each of that library's values has a lock and, with several processes, a place in a file: to touch
some fifteen of them for every request takes a twentieth of a request's time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import Counter, Histogram

from telemetry.metrics.exemplars import Examples


class BatchHistogram(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: Sequence[int], total: float) -> None:
        """Add so many observations to each of the buckets, ``total`` in sum."""
        self._sum.inc(total)
        for place, count in enumerate(counts):
            if count:
                self._buckets[place].inc(count)


class Amount:
    """What waits to be added to a counter, in units of which ``scale`` are one of the counter's."""

    __slots__ = ("_counter", "_scale", "pending")

    def __init__(self, counter: Counter, scale: int = 1) -> None:
        self._counter = counter
        self._scale = scale
        self.pending = 0
        """A whole number: money is exact until it is handed over."""

    def flush(self) -> None:
        if self.pending:
            pending, self.pending = self.pending, 0
            self._counter.inc(pending / self._scale)


class Observations:
    """What waits to be observed by a histogram with the upper ``bounds`` of its buckets.

    ``examples`` are told of the last exchange in each bucket.
    """

    __slots__ = ("_bounds", "_counts", "_examples", "_histogram", "_latest", "_total")

    def __init__(
        self,
        histogram: BatchHistogram,
        bounds: Sequence[float],
        examples: Examples | None = None,
    ) -> None:
        self._histogram = histogram
        self._bounds = bounds
        self._examples = examples
        self._clear()

    def add(self, value: float, exchange: str | None = None) -> None:
        """Observe a value, of an ``exchange`` if that may be shown as an example."""
        place = bisect_left(self._bounds, value)
        self._counts[place] += 1
        self._total += value
        if exchange is not None:
            self._latest[place] = (value, exchange)

    def flush(self) -> None:
        if any(self._counts):
            counts, total, latest = self._counts, self._total, self._latest
            self._clear()
            self._histogram.add(counts, total)
            if self._examples is not None:
                self._examples.tell(latest)

    def _clear(self) -> None:
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0
        self._latest: dict[int, tuple[float, str]] = {}
