"""Streams of 20 chunks: how many a second, how soon the first chunk, and whether any is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table

from bench.load import StreamMeasurement
from bench.machine import Cores, on_core
from bench.subjects import BARE, CONCURRENCY, LITELLM, STUB, TEACHER, Subject, load_streams

NAMES = {STUB, BARE, LITELLM, TEACHER}

GAP_MS = 50
"""Between the chunks of the slow streams that show what is held back."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds of one subject. Times are in milliseconds."""

    streams_per_s: float
    """With 32 connections, as the next; the stub sends without a pause."""
    cpu_ms: float
    """Processor time of the subject for one stream."""
    first_chunk_ms: float
    """From the request to the first chunk with text, one stream at a time."""
    added_first_chunk_ms: float
    """What that takes more than with the bare stub."""
    chunk_ms: float
    """From the stub to the caller, a chunk every 50 ms; half of them take less, ..."""
    chunk_p99_ms: float
    """... and 99 of 100 no more than this."""
    held_back: int
    """Chunks that came after the stub had sent the next, over all rounds."""
    failures: int
    """Streams that broke off or were refused, over all rounds."""


@dataclass(slots=True)
class _Rounds:
    """What the rounds have found of one subject."""

    crowded: list[StreamMeasurement]
    alone: list[StreamMeasurement]
    slow: list[StreamMeasurement]
    cpu_ms: list[float]


def run(
    subjects: Sequence[Subject], cores: Cores, seconds: float, rounds: int
) -> dict[str, Figures]:
    """Load every subject in every round, in turn; figures by subject."""
    found = {subject.name: _Rounds([], [], [], []) for subject in subjects}
    with on_core(cores.load):
        for subject in subjects:
            load_streams(subject, CONCURRENCY, seconds, 0)  # Not counted: caches fill.
        for _ in range(rounds):
            for subject in subjects:
                rows = found[subject.name]
                rows.alone.append(load_streams(subject, 1, seconds, 0)[0])
                rows.slow.append(load_streams(subject, 1, seconds, GAP_MS)[0])
                measured, cpu_ms = load_streams(subject, CONCURRENCY, seconds, 0)
                rows.crowded.append(measured)
                rows.cpu_ms.append(cpu_ms)
    return {name: _figures(rows, found[STUB].alone) for name, rows in found.items()}


def _figures(rows: _Rounds, stub: Sequence[StreamMeasurement]) -> Figures:
    first = median(one.first_chunk_p50_ms for one in rows.alone)
    every = (*rows.crowded, *rows.alone, *rows.slow)
    return Figures(
        streams_per_s=median(one.whole.requests_per_s for one in rows.crowded),
        cpu_ms=median(rows.cpu_ms),
        first_chunk_ms=first,
        added_first_chunk_ms=first - median(one.first_chunk_p50_ms for one in stub),
        chunk_ms=median(one.chunk_p50_ms for one in rows.slow),
        chunk_p99_ms=median(one.chunk_p99_ms for one in rows.slow),
        held_back=sum(one.held_back for one in rows.slow),
        failures=sum(one.whole.failures for one in every),
    )


def table(figures: dict[str, Figures]) -> Table:
    shown = Table(title="Streams of 20 chunks")
    shown.add_column("", no_wrap=True)
    for heading in ("streams/s", "CPU ms", "first ms", "added", "chunk ms", "p99 ms"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for heading in ("held", "failed"):
        shown.add_column(heading, justify="right")
    for name, row in figures.items():
        times = (row.cpu_ms, row.first_chunk_ms, row.added_first_chunk_ms)
        cells = [f"{value:.2f}" for value in (*times, row.chunk_ms, row.chunk_p99_ms)]
        counts = (str(row.held_back), str(row.failures))
        shown.add_row(name, f"{row.streams_per_s:,.0f}", *cells, *counts)
    return shown
