"""Exemplars: for each bucket of a histogram, the last exchange that fell into it.

They are part of OpenMetrics alone (https://prometheus.io/docs/specs/om/open_metrics_spec/), and
prometheus_client keeps none where there are several processes. Here each process writes its own
into a file of the folder that they share, and whoever is scraped shows the newest of all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson
from prometheus_client import Metric
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

_FILES = "exemplars_"
"""How their files' names begin; the number of the process follows."""


class Bucket(NamedTuple):
    """A bucket of a histogram by route, as it is scraped."""

    histogram: str
    route: str
    le: str


class Example(NamedTuple):
    """An exchange that an observation was made of."""

    value: float
    exchange: str
    created: float
    """Unix time."""


class Examples:
    """The examples of one histogram's ``route``: one for each bucket."""

    def __init__(self, histogram: str, route: str, bounds: Sequence[float]) -> None:
        les = [*map(floatToGoString, bounds), "+Inf"]
        self._buckets = [Bucket(histogram, route, le) for le in les]
        self.newest: dict[Bucket, Example] = {}

    def tell(self, latest: Mapping[int, tuple[float, str]]) -> None:
        """Take over the values and exchanges that were the last in some buckets, by place."""
        now = time.time()
        for place, (value, exchange) in latest.items():
            self.newest[self._buckets[place]] = Example(value, exchange, now)


class Exemplars:
    """The examples of all histograms of this process, shared with others through ``folder``."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._all: list[Examples] = []

    def of(self, histogram: str, route: str, bounds: Sequence[float]) -> Examples:
        examples = Examples(histogram, route, bounds)
        self._all.append(examples)
        return examples

    def share(self) -> None:
        """Let other processes see what this one has."""
        if self._folder is None:
            return
        file = self._folder / f"{_FILES}{os.getpid()}"
        new = file.with_suffix(".new")
        # On a full disk the others go on seeing what they saw.
        with suppress(OSError):
            new.write_bytes(orjson.dumps([(*bucket, *example) for bucket, example in self._own()]))
            # Whole or not at all.
            new.replace(file)

    def show(self, families: Sequence[Metric]) -> None:
        """Give the samples of ``families`` that are buckets their exemplars."""
        newest = self._newest()
        histograms = {bucket.histogram for bucket in newest}
        for family in families:
            if family.name not in histograms:
                continue
            for place, sample in enumerate(family.samples):
                labels = sample.labels
                bucket = Bucket(family.name, labels.get("route", ""), labels.get("le", ""))
                example = newest.get(bucket)
                if example is not None:
                    value, exchange, created = example
                    exemplar = Exemplar({"exchange_id": exchange}, value, created)
                    family.samples[place] = sample._replace(exemplar=exemplar)

    def _newest(self) -> dict[Bucket, Example]:
        newest: dict[Bucket, Example] = {}
        for bucket, example in (*self._others(), *self._own()):
            if bucket not in newest or newest[bucket].created <= example.created:
                newest[bucket] = example
        return newest

    def _own(self) -> Iterator[tuple[Bucket, Example]]:
        for examples in self._all:
            yield from examples.newest.items()

    def _others(self) -> Iterator[tuple[Bucket, Example]]:
        if self._folder is None:
            return
        for file in self._folder.glob(f"{_FILES}*[0-9]"):
            for histogram, route, le, *example in orjson.loads(file.read_bytes()):
                yield Bucket(histogram, route, le), Example(*example)
