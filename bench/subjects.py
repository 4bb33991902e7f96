"""What the bench loads: each a server of one worker process before the same stub upstream."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import uvloop

from bench import litellm_proxy
from bench.load import Measurement, StreamMeasurement, Target, measure
from bench.machine import Cores, cpu_s, on_core
from bench.tickets import LEARNT_TASK, OTHER_TASK, bodies
from router.demo.errors import DemoError
from router.demo.processes import free_port, running
from telemetry.store import Store

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".bench"

CONCURRENCY = 32
PROTEGE = [sys.executable, "-c", "from router.cli import main; main()"]

_LESSONS = 800
"""Tickets that the teacher answers at least before the student is trained."""
_TRAINING_S = 120.0
_SAMPLE = 100
"""Answers whose route is looked at before measuring."""

STUB, BARE, LITELLM = "stub alone", "bare pass-through", "LiteLLM"
TEACHER, STUDENT = "Protege, teacher", "Protege, student"


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to load."""

    name: str
    target: Target
    pid: int
    model: str = "auto"
    task: str = OTHER_TASK


@dataclass(frozen=True, slots=True)
class Running:
    """The subjects, while they run."""

    subjects: list[Subject]
    student_share: float
    """Share of the student route's requests that the student answers; the rest it passes up."""

    def named(self, *names: str) -> list[Subject]:
        return [subject for subject in self.subjects if subject.name in names]


@contextmanager
def subjects(cores: Cores, names: set[str]) -> Iterator[Running]:
    """The subjects of these names run while the block does. The stub always does.

    Raises DemoError if one does not start.
    """
    with ExitStack() as stack:
        upstream = stack.enter_context(stub(cores))
        started = [upstream]
        with on_core(cores.subjects):
            if BARE in names:
                started.append(stack.enter_context(bare(upstream)))
            if LITELLM in names:
                started.append(stack.enter_context(_litellm(upstream)))
        share = 0.0
        if STUDENT in names:
            _teach(upstream)
        if names & {TEACHER, STUDENT}:
            with on_core(cores.subjects):
                protege = stack.enter_context(serving(TEACHER, upstream, WORK / "data"))
            student = replace(protege, name=STUDENT, task=LEARNT_TASK)
            started += [one for one in (protege, student) if one.name in names]
            share = _check_routes(protege, student, STUDENT in names)
        yield Running(started, share)


@contextmanager
def serving(
    name: str,
    upstream: Subject,
    data: Path,
    *,
    workers: int = 1,
    learning: bool = False,
    program: Sequence[str] = PROTEGE,
) -> Iterator[Subject]:
    """A Protege with its store, metrics and audits on that asks for a key with limits."""
    target = Target(f"http://127.0.0.1:{free_port()}/v1", _key(data))
    config = data.parent / f"{data.name}{'-learning' if learning else ''}.yaml"
    loop = {"enabled": learning, "first": _LESSONS, "encoder": None, "rollout": {"canary": 0}}
    config.write_text(json.dumps({"loop": loop, "workers": workers}), encoding="utf-8")
    log = config.with_suffix(".log")
    command = [*serve_command(target, upstream, data, program), "--config", str(config)]
    with running(command, log, target.url.removesuffix("v1") + "readyz") as pid:
        yield Subject(name, target, pid)


def serve_command(
    target: Target, upstream: Subject, data: Path, program: Sequence[str] = PROTEGE
) -> list[str]:
    """``protege serve`` at ``target`` with the stub for its teacher."""
    root = httpx.URL(target.url)
    command = [*program, "serve", "--host", root.host, "--port", str(root.port)]
    command += ["--data", str(data)]
    return [*command, "--teacher", "gpt-5.4", "--teacher-base-url", upstream.target.url]


def load(
    subject: Subject, concurrency: int, seconds: float, rate: float | None = None
) -> tuple[Measurement, float]:
    """Load a subject, with so many requests a second if there is a ``rate``; what was measured, and
    its milliseconds of processor time per request."""
    before = cpu_s(subject.pid)
    paced = () if rate is None else ("--rate", str(rate))
    measured = Measurement(**_generate(subject, concurrency, seconds, *paced))
    return measured, 1000 * (cpu_s(subject.pid) - before) / measured.requests


def load_streams(
    subject: Subject, concurrency: int, seconds: float, gap_ms: int
) -> tuple[StreamMeasurement, float]:
    """As ``load``, with streams."""
    before = cpu_s(subject.pid)
    found = _generate(subject, concurrency, seconds, "--stream", "--gap", str(gap_ms))
    whole = Measurement(**found.pop("whole"))
    measured = StreamMeasurement(whole=whole, **found)
    return measured, 1000 * (cpu_s(subject.pid) - before) / whole.requests


def generator(subject: Subject, concurrency: int, seconds: float, *more: str) -> list[str]:
    """The command of a load generator."""
    command = [sys.executable, "-m", "bench.load", subject.target.url]
    command += ["--key", subject.target.key, "--model", subject.model, "--task", subject.task]
    return [*command, "--concurrency", str(concurrency), "--seconds", str(seconds), *more]


def _generate(subject: Subject, concurrency: int, seconds: float, *more: str) -> dict[str, Any]:
    command = generator(subject, concurrency, seconds, *more)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT)
    return json.loads(done.stdout)


@contextmanager
def stub(cores: Cores) -> Iterator[Subject]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    command = [sys.executable, "-m", "bench.stub", str(port)]
    with on_core(cores.load), running(command, WORK / "stub.log", f"{url}/models") as pid:
        yield Subject(STUB, Target(url), pid)


@contextmanager
def bare(upstream: Subject, workers: int = 1) -> Iterator[Subject]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    command = [sys.executable, "-m", "bench.passthrough", str(port), upstream.target.url]
    command.append(str(workers))
    with running(command, WORK / "passthrough.log", f"{url}/models") as pid:
        yield Subject(BARE, Target(url), pid)


@contextmanager
def _litellm(upstream: Subject) -> Iterator[Subject]:
    port = free_port()
    command = litellm_proxy.command(upstream.target.url, port, WORK / "litellm.yaml")
    ready = f"http://127.0.0.1:{port}/health/liveliness"
    with running(command, WORK / "litellm.log", ready, litellm_proxy.ENVIRONMENT) as pid:
        target = Target(f"http://127.0.0.1:{port}/v1")
        yield Subject(LITELLM, target, pid, litellm_proxy.MODEL)


def _key(data: Path) -> str:
    """The secret of a new key whose limits are never reached."""
    command = [*PROTEGE, "keys", "create", "--data", str(data)]
    command += ["--budget", "1000000", "--rpm", "1000000000", "--tpm", "1000000000000"]
    created = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return created.stdout.decode().strip()


def _teach(upstream: Subject) -> None:
    """Let a student of the learnt task be trained and promoted. Raises DemoError if none is."""
    with serving(TEACHER, upstream, WORK / "data", learning=True) as protege:
        taught = 0
        while taught < _LESSONS:
            lessons = bodies("auto", LEARNT_TASK, _LESSONS, seed=1000 + taught)
            taught += uvloop.run(measure(protege.target, lessons, CONCURRENCY, seconds=1)).requests
        store = Store(WORK / "data")
        deadline = time.monotonic() + _TRAINING_S
        while not store.roster.serving():
            if time.monotonic() > deadline:
                raise DemoError(f"no student was promoted within {_TRAINING_S:.0f} s")
            time.sleep(0.5)
        store.close()


def _check_routes(teacher: Subject, student: Subject, taught: bool) -> float:
    """The student's share of its route. Raises DemoError if it has one of the teacher's."""
    if _student_share(teacher) > 0:
        raise DemoError("a student answers on the teacher's route")
    return _student_share(student) if taught else 0.0


def _student_share(subject: Subject) -> float:
    headers = {"authorization": f"Bearer {subject.target.key}"}
    with httpx.Client(trust_env=False, headers=headers) as client:
        answers = [
            client.post(f"{subject.target.url}/chat/completions", content=body)
            for body in bodies(subject.model, subject.task, _SAMPLE, seed=2)
        ]
    routes = [answer.headers.get("x-protege-route") for answer in answers]
    if None in routes:
        raise DemoError(f"{subject.name} answered {answers[routes.index(None)].text}")
    return routes.count("student") / _SAMPLE
