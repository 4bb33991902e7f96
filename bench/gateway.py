"""Throughput and added latency of the gateway, beside LiteLLM's proxy, before one stub upstream.

Every subject is measured in every round, in turn; the figures are medians over the rounds. With two
cores or more the subjects run on one and the stub and the load generator on another.

    python -m bench.gateway --seconds 2 --rounds 5
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import httpx
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from bench import litellm_proxy
from bench.load import Measurement, measure
from bench.tickets import LEARNT_TASK, OTHER_TASK, bodies
from router.demo.errors import DemoError
from router.demo.processes import free_port, running
from telemetry.store import Store

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".bench"

CONCURRENCY = 32
LESSONS = 800
"""Tickets that the teacher answers at least before the student is trained."""
TRAINING_S = 120.0
SAMPLE = 100
"""Answers whose route is looked at before measuring."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to load."""

    name: str
    url: str
    model: str
    task: str = OTHER_TASK


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds of one subject. Latencies are in milliseconds, one request at a time;
    added latency is what the subject takes more than the bare stub."""

    requests_per_s: float
    """With 32 connections."""
    p50_ms: float
    p95_ms: float
    added_p50_ms: float
    added_p95_ms: float
    failures: int
    """Answers with another status than 200, over all rounds."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the subjects run on, and which the stub and the load generator; None: any."""

    subjects: int | None
    load: int | None


STUB, LITELLM = "stub alone", "LiteLLM"
TEACHER, STUDENT = "Protege, teacher", "Protege, student"


def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often all is measured.")] = 5,
    json_: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there too.")
    ] = None,
) -> None:
    """Measure Protege's gateway and LiteLLM's proxy side by side."""
    try:
        litellm_proxy.install()
        report = run(seconds, rounds)
    except (DemoError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"bench: {error}")
    _show(report)
    if json_ is not None:
        json_.write_text(json.dumps(dataclasses.asdict(report), indent=1), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Report:
    """What one run of the bench has found."""

    seconds: float
    rounds: int
    concurrency: int
    cores: Cores
    litellm_version: str
    student_share: float
    """Share of the student route's requests that the student answers; the rest it passes up."""
    figures: dict[str, Figures]
    teacher_ratio: float
    """Throughput of Protege's teacher route over LiteLLM's."""
    student_ratio: float


def run(seconds: float, rounds: int) -> Report:
    """Start all subjects, measure them, stop them. Raises DemoError if one does not start."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    cores = _cores()
    with ExitStack() as stack:
        subjects, student_share = _start(stack, cores)
        figures = _measure(subjects, cores, seconds, rounds)
    throughput = {name: figure.requests_per_s for name, figure in figures.items()}
    return Report(
        seconds,
        rounds,
        CONCURRENCY,
        cores,
        litellm_proxy.version(),
        student_share,
        figures,
        teacher_ratio=throughput[TEACHER] / throughput[LITELLM],
        student_ratio=throughput[STUDENT] / throughput[LITELLM],
    )


def _cores() -> Cores:
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    return Cores(available[0], available[1]) if len(available) > 1 else Cores(None, None)


@contextmanager
def _on(core: int | None) -> Iterator[None]:
    """Processes started in the block run on ``core``: they inherit it."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _start(stack: ExitStack, cores: Cores) -> tuple[list[Subject], float]:
    """The subjects, running until ``stack`` closes, and the student's share."""
    stub, litellm = free_port(), free_port()
    stub_url = f"http://127.0.0.1:{stub}/v1"
    with _on(cores.load):
        command = [sys.executable, "-m", "bench.stub", str(stub)]
        stack.enter_context(running(command, WORK / "stub.log", f"{stub_url}/models"))
    with _on(cores.subjects):
        command = litellm_proxy.command(stub_url, litellm, WORK / "litellm.yaml")
        ready = f"http://127.0.0.1:{litellm}/health/liveliness"
        log = WORK / "litellm.log"
        stack.enter_context(running(command, log, ready, litellm_proxy.ENVIRONMENT))
    _teach(stub_url)
    with _on(cores.subjects):
        protege_url = stack.enter_context(_protege(stub_url, learning=False))
    subjects = [
        Subject(STUB, stub_url, "stub"),
        Subject(LITELLM, f"http://127.0.0.1:{litellm}/v1", litellm_proxy.MODEL),
        Subject(TEACHER, protege_url, "auto"),
        Subject(STUDENT, protege_url, "auto", LEARNT_TASK),
    ]
    if _student_share(subjects[2]) > 0:
        raise DemoError("a student answers on the teacher's route")
    return subjects, _student_share(subjects[3])


@contextmanager
def _protege(stub_url: str, *, learning: bool) -> Iterator[str]:
    """A server with one worker, logging and metrics on; gives the root of its API."""
    port = free_port()
    config = WORK / f"protege-{'learning' if learning else 'measured'}.yaml"
    loop = {"enabled": learning, "first": LESSONS, "encoder": None}
    config.write_text(json.dumps({"loop": loop}), encoding="utf-8")
    command = [sys.executable, "-c", "from router.cli import main; main()", "serve"]
    command += [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--data",
        str(WORK / "data"),
        "--config",
        str(config),
    ]
    command += ["--teacher", "gpt-5.4", "--teacher-base-url", stub_url]
    log = config.with_suffix(".log")
    with running(command, log, f"http://127.0.0.1:{port}/readyz"):
        yield f"http://127.0.0.1:{port}/v1"


def _teach(stub_url: str) -> None:
    """Let a student of the learnt task be trained and promoted. Raises DemoError if none is."""
    with _protege(stub_url, learning=True) as url:
        taught = 0
        while taught < LESSONS:
            lessons = bodies("auto", LEARNT_TASK, LESSONS, seed=1000 + taught)
            taught += uvloop.run(measure(url, lessons, CONCURRENCY, seconds=1)).requests
        store = Store(WORK / "data")
        deadline = time.monotonic() + TRAINING_S
        while not store.serving():
            if time.monotonic() > deadline:
                raise DemoError(f"no student was promoted within {TRAINING_S:.0f} s")
            time.sleep(0.5)
        store.close()


def _student_share(subject: Subject) -> float:
    with httpx.Client(trust_env=False) as client:
        answers = [
            client.post(f"{subject.url}/chat/completions", content=body)
            for body in bodies(subject.model, subject.task, SAMPLE, seed=2)
        ]
    routes = [answer.headers["x-protege-route"] for answer in answers]
    return routes.count("student") / SAMPLE


def _measure(
    subjects: Sequence[Subject], cores: Cores, seconds: float, rounds: int
) -> dict[str, Figures]:
    alone: dict[str, list[Measurement]] = {subject.name: [] for subject in subjects}
    crowded: dict[str, list[Measurement]] = {subject.name: [] for subject in subjects}
    with _on(cores.load):
        for subject in subjects:
            _load(subject, CONCURRENCY, seconds)  # Not counted: caches fill.
        for _ in range(rounds):
            for subject in subjects:
                alone[subject.name].append(_load(subject, 1, seconds))
                crowded[subject.name].append(_load(subject, CONCURRENCY, seconds))
    return {name: _figures(alone[name], crowded[name], alone[STUB]) for name in alone}


def _load(subject: Subject, concurrency: int, seconds: float) -> Measurement:
    command = [sys.executable, "-m", "bench.load", subject.url, "--model", subject.model]
    command += ["--task", subject.task, "--concurrency", str(concurrency)]
    command += ["--seconds", str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT)
    return Measurement(**json.loads(done.stdout))


def _figures(
    alone: Sequence[Measurement], crowded: Sequence[Measurement], stub: Sequence[Measurement]
) -> Figures:
    def middle(runs: Sequence[Measurement], value: Callable[[Measurement], float]) -> float:
        return median(value(run) for run in runs)

    p50 = middle(alone, lambda run: run.p50_ms)
    p95 = middle(alone, lambda run: run.p95_ms)
    return Figures(
        requests_per_s=middle(crowded, lambda run: run.requests_per_s),
        p50_ms=p50,
        p95_ms=p95,
        added_p50_ms=p50 - middle(stub, lambda run: run.p50_ms),
        added_p95_ms=p95 - middle(stub, lambda run: run.p95_ms),
        failures=sum(run.failures for run in (*alone, *crowded)),
    )


def _show(report: Report) -> None:
    table = Table(title="Gateway")
    table.add_column("")
    for heading in ("req/s", "p50 ms", "p95 ms", "added p50", "added p95", "failed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, row in report.figures.items():
        latencies = (row.p50_ms, row.p95_ms, row.added_p50_ms, row.added_p95_ms)
        cells = [f"{latency:.2f}" for latency in latencies]
        table.add_row(name, f"{row.requests_per_s:,.0f}", *cells, str(row.failures))
    console = Console()
    console.print(table)
    console.print(
        f"Throughput over LiteLLM's proxy: teacher route {report.teacher_ratio:.1f}x, "
        f"student route {report.student_ratio:.1f}x."
    )
    console.print(_conditions(report), style="dim")


def _conditions(report: Report) -> str:
    cores = report.cores
    placed = (
        "Subjects, stub and load generator share all cores."
        if cores.subjects is None
        else f"Subjects on core {cores.subjects}, stub and load generator on core {cores.load}."
    )
    return (
        f"Medians of {report.rounds} rounds of {report.seconds:g} s; requests/s with "
        f"{report.concurrency} connections, latency with one. {placed} One worker each. "
        f"LiteLLM {report.litellm_version}: its proxy without database, keys or callbacks. "
        "Protege: store, metrics and audits on; its student answers "
        f"{report.student_share:.0%} of its route. "
        "The stub alone is the load generator's own limit."
    )


if __name__ == "__main__":
    typer.run(main)
