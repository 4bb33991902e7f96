"""Two worker processes against one, on the teacher's route.

All processes may run on any core. The stub and the load generator take their share of the machine,
so two things are told: what comes out, and what a second of processor time of the workers yields,
which is the ratio that more cores would give.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from bench.machine import Cores
from bench.subjects import CONCURRENCY, WORK, load, serving, stub

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


def run(seconds: float, rounds: int) -> Figures:
    rates: dict[int, list[float]] = {count: [] for count in _COUNTS}
    cpu: dict[int, list[float]] = {count: [] for count in _COUNTS}
    failures = 0
    with ExitStack() as stack:
        # One that is bound to a core takes that from the worker there.
        upstream = stack.enter_context(stub(Cores(None, None)))
        servers = {
            count: stack.enter_context(
                serving(f"{count} workers", upstream, WORK / f"workers-{count}", workers=count)
            )
            for count in _COUNTS
        }
        for server in servers.values():
            load(server, CONCURRENCY, seconds)  # Not counted: caches fill.
        for _ in range(rounds):
            for count, server in servers.items():
                measured, cpu_ms = load(server, CONCURRENCY, seconds)
                rates[count].append(measured.requests_per_s)
                cpu[count].append(cpu_ms)
                failures += measured.failures
    one, two = _COUNTS
    return Figures(
        (median(rates[one]), median(rates[two])), (median(cpu[one]), median(cpu[two])), failures
    )


def sentence(figures: Figures) -> str:
    one, two = figures.requests_per_s
    return (
        f"Two workers: {two:,.0f} requests/s against {one:,.0f} ({figures.throughput_ratio:.2f}x), "
        f"while stub and load generator share their cores; by processor time per request "
        f"({figures.cpu_ms[1]:.2f} ms against {figures.cpu_ms[0]:.2f}) they are worth "
        f"{figures.capacity_ratio:.2f}x; {figures.failures} failed."
    )
