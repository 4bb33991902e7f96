"""Counting in batches: what a request adds is added up in plain numbers, and handed over to
prometheus_client a few times a second.

Each of that library's values has a lock and, with several processes, a place in a file: to touch
some fifteen of them for every request takes a twentieth of a request's time.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prometheus_client import Counter, Histogram
from prometheus_client.samples import Exemplar


class Example(NamedTuple):
    """An exchange that an observation was made of."""

    value: float
    exchange: str
    created: float
    """Unix time."""


class BatchHistogram(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: Sequence[int], total: float, examples: Mapping[int, Example]) -> None:
        """Add so many observations to each of the buckets, ``total`` in sum, with an example of
        some of them."""
        self._sum.inc(total)
        for place, count in enumerate(counts):
            if count:
                self._buckets[place].inc(count)
        for place, (value, exchange, created) in examples.items():
            exemplar = Exemplar({"exchange_id": exchange}, value, created)
            self._buckets[place].set_exemplar(exemplar)


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
    """What waits to be observed by a histogram with the upper ``bounds`` of its buckets."""

    __slots__ = ("_bounds", "_counts", "_examples", "_histogram", "_total")

    def __init__(self, histogram: BatchHistogram, bounds: Sequence[float]) -> None:
        self._histogram = histogram
        self._bounds = bounds
        self._clear()

    def add(self, value: float, exchange: str | None = None) -> None:
        """Observe a value, of an ``exchange`` if that may be shown as an example."""
        place = bisect_left(self._bounds, value)
        self._counts[place] += 1
        self._total += value
        if exchange is not None:
            self._examples[place] = (value, exchange)

    def flush(self) -> None:
        if any(self._counts):
            counts, total, latest = self._counts, self._total, self._examples
            self._clear()
            now = time.time()
            examples = {place: Example(*seen, now) for place, seen in latest.items()}
            self._histogram.add(counts, total, examples)

    def _clear(self) -> None:
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0
        self._examples: dict[int, tuple[float, str]] = {}
