"""What metrics cost: requests per second with them and without, in one run, and what a scrape of
a server with many tasks takes.

    python -m bench.metrics --seconds 2 --rounds 10
"""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median
from typing import Annotated

import httpx
import typer
import uvloop
from rich.console import Console

from bench.load import measure
from bench.machine import Cores, cpu_s, on_core, two_cores
from bench.subjects import CONCURRENCY, PROTEGE, WORK, Subject, load, serving, stub
from bench.tickets import bodies
from router.demo.errors import DemoError
from telemetry import runs
from telemetry.exchange import PICO, Exchange, StudentRecord, TaskState
from telemetry.keys import Keys, new_secret
from telemetry.metrics import Metrics
from telemetry.runs import TrainingRun
from telemetry.store import Audit, Store

UNMETERED = [sys.executable, "-m", "bench.unmetered"]
TASKS, WORKERS = 200, 4
_AUDITS, _RUNS, _KEYS = 100, 10, 50
"""Audits and training runs of each task; keys with budgets."""
_REQUESTS = 60
"""Requests of each task, about, over all workers."""
_SCRAPES = 40
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians over the rounds, with what is measured and without."""

    requests_per_s: tuple[float, float]
    cpu_ms: tuple[float, float]
    """Processor time of a request."""
    throughput_lost: float
    """Share of the throughput: the median over the rounds, each with and without in turn."""
    cpu_more: float
    """Share by which a request's processor time is more, likewise."""
    failures: int


@dataclass(frozen=True, slots=True)
class Scrapes:
    """What answers to ``GET /metrics`` take."""

    fastest_ms: float
    """What it takes where nobody else wants the processor."""
    median_ms: float
    slowest_ms: float
    cpu_ms: float
    """Processor time of all workers for one."""
    bytes: int
    samples: int


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run."""

    seconds: float
    rounds: int
    cores: Cores
    added_us: float
    """Microseconds that metrics add to a request, by themselves: least of some tries, so that a
    busy machine does not blur it."""
    cost: Cost
    scrapes: Scrapes


def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often it is measured.")] = 10,
    json_: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there too.")
    ] = None,
) -> None:
    """Measure what metrics cost, and what a scrape takes."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    cores = two_cores()
    try:
        with stub(cores) as upstream:
            programs = {"metered": PROTEGE, "unmetered": UNMETERED}
            cost = compared(upstream, cores, seconds, rounds, programs)
            report = Report(seconds, rounds, cores, _added_us(), cost, _scrapes(upstream))
    except (DemoError, OSError) as error:
        sys.exit(f"bench: {error}")
    _show(report)
    if json_ is not None:
        json_.write_text(json.dumps(dataclasses.asdict(report), indent=1), encoding="utf-8")


def compared(
    upstream: Subject,
    cores: Cores,
    seconds: float,
    rounds: int,
    programs: Mapping[str, Sequence[str]],
) -> Cost:
    """Two servers of one worker each by name, with and without what is measured, loaded in turn;
    which goes first changes every round."""
    rates: tuple[list[float], list[float]] = ([], [])
    cpu: tuple[list[float], list[float]] = ([], [])
    failures = 0
    with ExitStack() as stack:
        with on_core(cores.subjects):
            servers = [
                stack.enter_context(serving(name, upstream, WORK / name, program=program))
                for name, program in programs.items()
            ]
        stack.enter_context(on_core(cores.load))
        for server in servers:
            load(server, CONCURRENCY, seconds)  # Not counted: caches fill.
        for number in range(rounds):
            for which in (0, 1) if number % 2 else (1, 0):
                measured, cpu_ms = load(servers[which], CONCURRENCY, seconds)
                rates[which].append(measured.requests_per_s)
                cpu[which].append(cpu_ms)
                failures += measured.failures
    return Cost(
        requests_per_s=(median(rates[0]), median(rates[1])),
        cpu_ms=(median(cpu[0]), median(cpu[1])),
        throughput_lost=median(1 - on / off for on, off in zip(*rates, strict=True)),
        cpu_more=median(on / off - 1 for on, off in zip(*cpu, strict=True)),
        failures=failures,
    )


def _added_us() -> float:
    metrics = Metrics()
    answers = [_answer(_task(number), "v1", 0) for number in range(TASKS)]
    best = inf
    for _ in range(_TRIES):
        started = time.process_time()
        for one in answers:
            asked = time.perf_counter()
            upstream_s = time.perf_counter() - asked
            metrics.exchange(one, one.latency_s - upstream_s, upstream_s)
        metrics.flush()
        best = min(best, time.process_time() - started)
    return 1e6 * best / len(answers)


def _scrapes(upstream: Subject) -> Scrapes:
    """Of a server whose every worker has seen requests of every task, each with a student."""
    data = WORK / "many"
    _fill(data)
    with serving("many tasks", upstream, data, workers=WORKERS) as server:
        requests = [
            body
            for number in range(TASKS)
            for body in bodies("auto", _task(number), 2, seed=number)
        ]
        answered = 0
        while answered < _REQUESTS * TASKS:
            # On connections of their own each time, so that every worker gets of every task.
            random.shuffle(requests)
            answered += uvloop.run(measure(server.target, requests, CONCURRENCY, 0.5)).requests
        url = server.target.url.removesuffix("v1") + "metrics"
        took: list[float] = []
        before = cpu_s(server.pid)
        with httpx.Client(trust_env=False) as client:
            for _ in range(_SCRAPES):
                started = time.perf_counter()
                text = client.get(url).raise_for_status().text
                took.append(1000 * (time.perf_counter() - started))
        cpu_ms = 1000 * (cpu_s(server.pid) - before) / _SCRAPES
    samples = sum(not line.startswith("#") for line in text.splitlines())
    if text.count("protege_student_serving{") != TASKS:
        raise DemoError(f"not all of the {TASKS} tasks are shown")
    return Scrapes(min(took), median(took), max(took), cpu_ms, len(text.encode()), samples)


def _fill(data: Path) -> None:
    """Students, their audits, training runs and keys."""
    store = Store(data)
    for number in range(TASKS):
        task, version = _task(number), f"student-{number:04d}"
        # It has no files, so that the teacher answers: what is measured is what is shown of it.
        record = StudentRecord(version, task, 1.0, f"students/{version}", True, "passed", "{}")
        store.roster.close_run(TaskState(task), record)
        answers = [_answer(task, version, place) for place in range(_AUDITS)]
        audits = [Audit(one.id, "yes", at % 40 > 0, PICO) for at, one in enumerate(answers)]
        store.write(answers, audits)
        for place in range(_RUNS):
            outcome: runs.Outcome = "kept" if place else "promoted"
            runs.add(store.engine, TrainingRun(task, time.time(), 1.0 + place, outcome, 200))
    keys = Keys(store)
    for number in range(_KEYS):
        keys.create(new_secret(), time.time(), name=f"key {number}", budget=PICO)
    store.close()


def _answer(task: str, version: str, place: int) -> Exchange:
    return Exchange(
        id=f"req_{version}_{place}",
        created=time.time(),
        task=task,
        route="student",
        model=version,
        reason="student_confident",
        status=200,
        stream=False,
        sampled=True,
        student=version,
    )


def _task(number: int) -> str:
    return f"task-{number:03d}"


def _show(report: Report) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    cost, scrapes = report.cost, report.scrapes
    console.print(f"By themselves metrics add {report.added_us:.1f} us to a request.")
    console.print(
        f"With metrics {cost.requests_per_s[0]:,.0f} requests/s, without "
        f"{cost.requests_per_s[1]:,.0f}: {cost.throughput_lost:.1%} lost. Processor time of a "
        f"request {cost.cpu_ms[0]:.3f} ms against {cost.cpu_ms[1]:.3f} ms: {cost.cpu_more:.1%} "
        f"more. {cost.failures} failed."
    )
    console.print(
        f"A scrape of {TASKS} tasks over {WORKERS} workers: {scrapes.median_ms:.0f} ms (median), "
        f"{scrapes.fastest_ms:.0f} ms (fastest), {scrapes.slowest_ms:.0f} ms (slowest of "
        f"{_SCRAPES}), {scrapes.cpu_ms:.0f} ms of "
        f"processor time, {scrapes.bytes / 1e6:.2f} MB, {scrapes.samples:,} samples."
    )
    console.print(
        f"Medians of {report.rounds} rounds of {report.seconds:g} s with {CONCURRENCY} "
        "connections, one worker each.",
        style="dim",
    )


if __name__ == "__main__":
    typer.run(main)
