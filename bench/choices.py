"""What each choice of server, parser, client and the like buys, measured side by side.

The first table has the bare pass-through with one choice made otherwise, each in a process of its
own and all loaded in turn in every round. The others measure choices within the server.

    python -m bench.choices --seconds 1 --rounds 5
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from bench.load import Target
from bench.machine import Cores, on_core, two_cores
from bench.subjects import CONCURRENCY, WORK, Subject, load, stub
from bench.tickets import OTHER_TASK, bodies
from bench.variants import VARIANTS
from router.demo.errors import DemoError
from router.demo.processes import free_port, running
from telemetry.exchange import Exchange
from telemetry.store import Store

_BATCH = 32
_RECORDS = 640


@dataclass(frozen=True, slots=True)
class Choice:
    """What one way of doing it takes; ``rate`` is how much of it comes out in a second."""

    title: str
    rate: float
    cpu_ms: float
    """Processor time of one."""


def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement.")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often all is measured.")] = 5,
) -> None:
    """Print what each choice buys."""
    WORK.mkdir(exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        passed = _pass_through(two_cores(), seconds, rounds)
    except (DemoError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"bench: {error}")
    console.print(_table("Pass-through, 32 connections", "requests/s", passed))
    console.print(_table("A request read and written", "requests/s", _json()))
    console.print(_table("Exchanges stored, each commit on disk", "exchanges/s", _commits()))
    console.print(_table("The garbage collector's full pass", "passes/s", _collections()))


def _table(title: str, unit: str, choices: Sequence[Choice]) -> Table:
    """Ratios are to the first row."""
    shown = Table(title=title)
    shown.add_column("", no_wrap=True)
    for heading in (unit, "CPU ms", "CPU ratio"):
        shown.add_column(heading, justify="right")
    for choice in choices:
        ratio = choice.cpu_ms / choices[0].cpu_ms
        shown.add_row(choice.title, f"{choice.rate:,.0f}", f"{choice.cpu_ms:.3f}", f"{ratio:.2f}")
    return shown


def _pass_through(cores: Cores, seconds: float, rounds: int) -> list[Choice]:
    names = [name for name, variant in VARIANTS.items() if variant.is_installed]
    rates: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        upstream = stack.enter_context(stub(cores))
        with on_core(cores.subjects):
            subjects = [stack.enter_context(_variant(name, upstream)) for name in names]
        with on_core(cores.load):
            for subject in subjects:
                load(subject, CONCURRENCY, seconds)  # Not counted: caches fill.
            for _ in range(rounds):
                for subject in subjects:
                    measured, cpu_ms = load(subject, CONCURRENCY, seconds)
                    rates[subject.name].append(measured.requests_per_s)
                    cpu[subject.name].append(cpu_ms)
    return [Choice(VARIANTS[name].title, median(rates[name]), median(cpu[name])) for name in names]


@contextmanager
def _variant(name: str, upstream: Subject) -> Iterator[Subject]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    command = [sys.executable, "-m", "bench.variants", name, str(port), upstream.target.url]
    with running(command, WORK / f"variant-{name}.log", f"{url}/models") as pid:
        yield Subject(name, Target(url), pid)


def _json() -> list[Choice]:
    requests = 20 * bodies("auto", OTHER_TASK, 1000, seed=1)

    def standard() -> None:
        for raw in requests:
            json.dumps(json.loads(raw)).encode()

    def fast() -> None:
        for raw in requests:
            orjson.dumps(orjson.loads(raw))

    return [_timed("orjson", fast, len(requests)), _timed("json", standard, len(requests))]


def _commits() -> list[Choice]:
    with TemporaryDirectory(dir=WORK) as folder:
        store = Store(Path(folder))

        def write(exchanges: Sequence[Exchange], batch: int) -> None:
            for start in range(0, len(exchanges), batch):
                store.write(exchanges[start : start + batch])

        first, second = _exchanges(0), _exchanges(_RECORDS)
        together = _timed(f"{_BATCH} to a commit", lambda: write(first, _BATCH), _RECORDS)
        alone = _timed("a commit each", lambda: write(second, 1), _RECORDS)
        store.close()
    return [together, alone]


def _exchanges(start: int) -> list[Exchange]:
    requests = bodies("auto", OTHER_TASK, _RECORDS, seed=start)
    return [_exchange(start + number, request) for number, request in enumerate(requests)]


def _exchange(number: int, request: bytes) -> Exchange:
    return Exchange(
        id=f"req_{number:032x}",
        created=time.time(),
        task=OTHER_TASK,
        route="teacher",
        model="gpt-5.4",
        reason="no_student",
        status=200,
        stream=False,
        sampled=True,
        request=request.decode(),
        answer="billing",
        teacher_answer="billing",
        finish_reason="stop",
    )


def _collections() -> list[Choice]:
    """In this process, with all that a server imports."""
    import router.app  # noqa: F401

    thawed = _timed("what was imported looked through", lambda: [gc.collect() for _ in range(5)], 5)
    gc.freeze()
    frozen = _timed("what was imported frozen", lambda: [gc.collect() for _ in range(5)], 5)
    gc.unfreeze()
    return [frozen, thawed]


def _timed(title: str, work: Callable[[], object], count: int) -> Choice:
    """``work`` does ``count`` of something."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    return Choice(title, count / wall_s, 1000 * cpu_s / count)


if __name__ == "__main__":
    typer.run(main)
