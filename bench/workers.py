"""Two worker processes against one, on the teacher's route and of the bare pass-through.

All processes may run on any core. The stub and the load generator take their share of the machine,
so two things are told: what comes out, and what a second of processor time of the workers yields,
which is the ratio that more cores would give. What the machine takes for four busy processes
instead of three, the pass-through shows: its workers share nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from bench.machine import Cores
from bench.subjects import BARE, CONCURRENCY, TEACHER, WORK, bare, load, serving, stub

_COUNTS = (1, 2)


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds, the first of each pair with one worker, the other with two."""

    requests_per_s: tuple[float, float]
    cpu_ms: tuple[float, float]
    """Processor time of all workers for one request."""
    failures: int

    @property
    def throughput_ratio(self) -> float:
        return self.requests_per_s[1] / self.requests_per_s[0]

    @property
    def capacity_ratio(self) -> float:
        """Twice the workers, each with the processor time that a request takes it."""
        return 2 * self.cpu_ms[0] / self.cpu_ms[1]


def run(seconds: float, rounds: int) -> dict[str, Figures]:
    """The figures of each, by name."""
    places = [(name, count) for name in (BARE, TEACHER) for count in _COUNTS]
    rates: dict[tuple[str, int], list[float]] = {place: [] for place in places}
    cpu: dict[tuple[str, int], list[float]] = {place: [] for place in places}
    failures = dict.fromkeys((BARE, TEACHER), 0)
    with ExitStack() as stack:
        # One that is bound to a core takes that from the worker there.
        upstream = stack.enter_context(stub(Cores(None, None)))
        servers = {
            (name, count): stack.enter_context(
                bare(upstream, count)
                if name == BARE
                else serving(name, upstream, WORK / f"workers-{count}", workers=count)
            )
            for name, count in places
        }
        for server in servers.values():
            load(server, CONCURRENCY, seconds)  # Not counted: caches fill.
        for _ in range(rounds):
            for place, server in servers.items():
                measured, cpu_ms = load(server, CONCURRENCY, seconds)
                rates[place].append(measured.requests_per_s)
                cpu[place].append(cpu_ms)
                failures[place[0]] += measured.failures
    one, two = _COUNTS
    return {
        name: Figures(
            (median(rates[name, one]), median(rates[name, two])),
            (median(cpu[name, one]), median(cpu[name, two])),
            failures[name],
        )
        for name in failures
    }


def sentences(found: Mapping[str, Figures]) -> list[str]:
    return [_sentence(name, figures) for name, figures in found.items()]


def _sentence(name: str, figures: Figures) -> str:
    one, two = figures.requests_per_s
    return (
        f"{name}, two workers: {two:,.0f} requests/s against {one:,.0f} "
        f"({figures.throughput_ratio:.2f}x), while stub and load generator share their cores; by "
        f"processor time per request ({figures.cpu_ms[1]:.2f} ms against {figures.cpu_ms[0]:.2f}) "
        f"they are worth {figures.capacity_ratio:.2f}x; {figures.failures} failed."
    )
