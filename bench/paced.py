"""How long answers of the student route take below saturation, at a given rate.

Under a closed loop at saturation latency says no more than throughput does: connections divided by
it (Little 1961).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from bench.machine import Cores, on_core
from bench.subjects import CONCURRENCY, Subject, load

RATE = 1500
"""Requests a second."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds, in milliseconds from when a request was due."""

    requests_per_s: float
    """Answered: less than the rate where that is too much."""
    p50_ms: float
    p99_ms: float
    failures: int


def run(subject: Subject, cores: Cores, seconds: float, rounds: int) -> Figures:
    """Send requests at ``RATE`` for ``seconds``, ``rounds`` times."""
    with on_core(cores.load):
        rows = [load(subject, CONCURRENCY, seconds, rate=RATE)[0] for _ in range(rounds)]
    return Figures(
        requests_per_s=median(row.requests_per_s for row in rows),
        p50_ms=median(row.p50_ms for row in rows),
        p99_ms=median(row.p99_ms for row in rows),
        failures=sum(row.failures for row in rows),
    )


def sentence(figures: Figures) -> str:
    return (
        f"Student route at {RATE:,} requests/s over {CONCURRENCY} connections: "
        f"p50 {figures.p50_ms:.1f} ms, p99 {figures.p99_ms:.1f} ms from when each was due "
        f"({figures.requests_per_s:,.0f}/s answered, {figures.failures} failed)."
    )
