"""What a scraper is sent: one process's metrics, or the sum over all workers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import prometheus_client
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from telemetry.metrics import text
from telemetry.metrics.allocated import allocate
from telemetry.metrics.exemplars import Exemplars

# When each series was created doubles the output and nobody reads it.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
allocate()


class Exposition(NamedTuple):
    """The body of an answer to a scrape, and its type."""

    content: bytes
    content_type: str


def shared_folder() -> Path | None:
    """Where the processes of one server keep their values; None where there is one process."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return None if folder is None else Path(folder)


class Zeros(NamedTuple):
    """Label values of a counter whose series are there before anything is counted in them: of a
    rare event the first would else be missed, since nobody saw the zero before it."""

    labels: Sequence[str]
    values: Iterable[tuple[str, ...]]


class Counted(Collector):
    """What all processes have counted; ``own`` holds what this one has, where it is the only one.

    ``zeros`` are by the counters' names, without ``_total``.
    """

    def __init__(
        self, own: CollectorRegistry, exemplars: Exemplars, zeros: Mapping[str, Zeros]
    ) -> None:
        self._own = own
        self._exemplars = exemplars
        self._zeros = zeros

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        families = list(_counted(self._own).collect())
        self._exemplars.show(families)
        named = {family.name: family for family in families}
        for name, zeros in self._zeros.items():
            if name not in named:
                # Where there are several processes, what nobody has counted is in no file.
                named[name] = Metric(name, _WORDS, "counter")
            _fill_up(named[name], zeros)
        return named.values()


_WORDS = "Nothing has been counted yet."


def _fill_up(family: Metric, zeros: Zeros) -> None:
    seen = {tuple(map(sample.labels.get, zeros.labels)) for sample in family.samples}
    for values in zeros.values:
        if values not in seen:
            labels = dict(zip(zeros.labels, values, strict=True))
            family.add_sample(f"{family.name}_total", labels, 0.0)


def expose(counted: Collector, standing: Collector, accept: str) -> Exposition:
    """Everything counted, and how things stand, in the format that ``accept`` asks for."""
    families = chain(standing.collect(), counted.collect())
    content_type = text.content_type(accept)
    encode = text.openmetrics if content_type == text.OPENMETRICS else text.plain
    return Exposition(encode(families), content_type)


def _counted(own: CollectorRegistry) -> Collector:
    folder = shared_folder()
    if folder is None:
        return own
    _forget_dead_processes(folder)
    return MultiProcessCollector(None)  # type: ignore[no-untyped-call]


def _forget_dead_processes(folder: Path) -> None:
    """Requests in flight in a process that was killed will never end."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
