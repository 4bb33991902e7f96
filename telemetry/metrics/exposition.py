"""What a scraper is sent: one process's metrics, or the sum over all workers.

Exemplars, which lead from a histogram's bucket to an exchange, are part of OpenMetrics alone
(https://prometheus.io/docs/specs/om/open_metrics_spec/), and prometheus_client keeps none where
there are several processes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

# When each series was created doubles the output and nobody reads it.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Exposition(NamedTuple):
    """The body of an answer to a scrape, and its type."""

    content: bytes
    content_type: str


def shared_folder() -> Path | None:
    """Where the processes of one server keep their values; None where there is one process."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return None if folder is None else Path(folder)


def expose(own: CollectorRegistry, standing: Collector, accept: str) -> Exposition:
    """Everything counted, and how things stand, in the format that ``accept`` asks for.

    ``own`` holds what this process counts, where it is the only one.
    """
    registry = CollectorRegistry()
    registry.register(standing)
    registry.register(_counted(own))
    encode, content_type = choose_encoder(accept)
    return Exposition(encode(registry), content_type)


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
