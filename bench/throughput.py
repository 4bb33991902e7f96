"""Whole answers: requests a second, latency, and the processor time of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table

from bench.load import Measurement
from bench.machine import Cores, on_core
from bench.subjects import BARE, CONCURRENCY, LITELLM, STUB, STUDENT, TEACHER, Subject, load

NAMES = {STUB, BARE, LITELLM, TEACHER, STUDENT}


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds of one subject. Latencies are in milliseconds; added latency is what
    the subject takes more than the bare stub."""

    requests_per_s: float
    """With 32 connections, as the next two."""
    cpu_ms: float
    """Processor time of the subject for one request."""
    crowded_p99_ms: float
    p50_ms: float
    """One request at a time, as all below."""
    p95_ms: float
    added_p50_ms: float
    added_p95_ms: float
    failures: int
    """Answers with another status than 200, over all rounds."""


@dataclass(slots=True)
class _Rounds:
    """What the rounds have found of one subject."""

    alone: list[Measurement]
    crowded: list[Measurement]
    cpu_ms: list[float]


def run(
    subjects: Sequence[Subject], cores: Cores, seconds: float, rounds: int
) -> dict[str, Figures]:
    """Load every subject in every round, in turn; figures by subject."""
    found = {subject.name: _Rounds([], [], []) for subject in subjects}
    with on_core(cores.load):
        for subject in subjects:
            load(subject, CONCURRENCY, seconds)  # Not counted: caches fill.
        for _ in range(rounds):
            for subject in subjects:
                rows = found[subject.name]
                rows.alone.append(load(subject, 1, seconds)[0])
                measured, cpu_ms = load(subject, CONCURRENCY, seconds)
                rows.crowded.append(measured)
                rows.cpu_ms.append(cpu_ms)
    return {name: _figures(rows, found[STUB].alone) for name, rows in found.items()}


def _figures(rows: _Rounds, stub: Sequence[Measurement]) -> Figures:
    p50 = median(one.p50_ms for one in rows.alone)
    p95 = median(one.p95_ms for one in rows.alone)
    return Figures(
        requests_per_s=median(one.requests_per_s for one in rows.crowded),
        cpu_ms=median(rows.cpu_ms),
        crowded_p99_ms=median(one.p99_ms for one in rows.crowded),
        p50_ms=p50,
        p95_ms=p95,
        added_p50_ms=p50 - median(one.p50_ms for one in stub),
        added_p95_ms=p95 - median(one.p95_ms for one in stub),
        failures=sum(one.failures for one in (*rows.alone, *rows.crowded)),
    )


def table(figures: dict[str, Figures]) -> Table:
    shown = Table(title="Whole answers")
    shown.add_column("", no_wrap=True)
    for heading in ("req/s", "CPU ms", "p99 ms", "p50 ms", "p95 ms", "added p50", "added p95"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("failed", justify="right")
    for name, row in figures.items():
        times = (row.cpu_ms, row.crowded_p99_ms, row.p50_ms, row.p95_ms)
        added = (row.added_p50_ms, row.added_p95_ms)
        cells = [f"{value:.2f}" for value in (*times, *added)]
        shown.add_row(name, f"{row.requests_per_s:,.0f}", *cells, str(row.failures))
    return shown


def ratios(figures: dict[str, Figures]) -> list[str]:
    """Protege's two routes over the others, in words."""
    lines = []
    for other in (LITELLM, BARE):
        theirs = figures[other].requests_per_s
        lines.append(
            f"Throughput over {other}: teacher route "
            f"{figures[TEACHER].requests_per_s / theirs:.2f}x, student route "
            f"{figures[STUDENT].requests_per_s / theirs:.2f}x."
        )
    added = figures[TEACHER].added_p50_ms / figures[BARE].added_p50_ms
    lines.append(f"Added p50 of the teacher route over {BARE}: {added:.2f}x.")
    return lines
