"""The gateway measured beside others before one stub upstream, in one run.

Every subject has one worker process and is measured in every round, in turn; the figures are
medians over the rounds. With two cores or more the subjects run on one and the stub and the load
generator on another.

    python -m bench.gateway --seconds 2 --rounds 5
    python -m bench.gateway --only streams,crowd
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import crowd, litellm_proxy, paced, startup, streams, throughput, workers
from bench.machine import Cores, two_cores
from bench.subjects import CONCURRENCY, LITELLM, STUB, STUDENT, TEACHER, WORK, Running, subjects
from router.demo.errors import DemoError

PARTS = ("requests", "paced", "streams", "crowd", "startup", "workers")


@dataclass(frozen=True, slots=True)
class Report:
    """What one run of the bench has found; a part that was left out is None."""

    seconds: float
    rounds: int
    cores: Cores
    litellm_version: str
    student_share: float
    requests: dict[str, throughput.Figures] | None
    paced: paced.Figures | None
    streams: dict[str, streams.Figures] | None
    crowd: crowd.Figures | None
    startup: startup.Figures | None
    workers: dict[str, workers.Figures] | None


def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often all is measured.")] = 3,
    only: Annotated[str, typer.Option(help=f"Some of: {', '.join(PARTS)}.")] = ",".join(PARTS),
    json_: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there too.")
    ] = None,
) -> None:
    """Measure Protege's gateway, a bare pass-through and LiteLLM's proxy side by side."""
    parts = set(only.split(","))
    if not parts <= set(PARTS):
        sys.exit(f"bench: there is no part {', '.join(sorted(parts - set(PARTS)))}")
    try:
        report = run(parts, seconds, rounds)
    except (DemoError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"bench: {error}")
    _show(report)
    if json_ is not None:
        json_.write_text(json.dumps(dataclasses.asdict(report), indent=1), encoding="utf-8")


def run(parts: set[str], seconds: float, rounds: int) -> Report:
    """Start all subjects, measure them, stop them. Raises DemoError if one does not start."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    cores = two_cores()
    names = _names(parts)
    if LITELLM in names:
        litellm_proxy.install()
    with subjects(cores, names) as running:
        (stub,) = running.named(STUB)
        # Before the others, which would keep the processor's caches from it.
        started = startup.run(stub, cores) if "startup" in parts else None
        return Report(
            seconds,
            rounds,
            cores,
            litellm_proxy.version(),
            running.student_share,
            _requests(running, cores, seconds, rounds) if "requests" in parts else None,
            _paced(running, cores, seconds, rounds) if "paced" in parts else None,
            _streams(running, cores, seconds, rounds) if "streams" in parts else None,
            _crowd(running, cores, seconds) if "crowd" in parts else None,
            started,
            workers.run(seconds, rounds) if "workers" in parts else None,
        )


def _names(parts: set[str]) -> set[str]:
    """The subjects that these parts load."""
    names = {STUB}
    if "requests" in parts:
        names |= throughput.NAMES
    if "streams" in parts:
        names |= streams.NAMES
    if "paced" in parts:
        names.add(STUDENT)
    if "crowd" in parts:
        names.add(TEACHER)
    return names


def _requests(
    running: Running, cores: Cores, seconds: float, rounds: int
) -> dict[str, throughput.Figures]:
    return throughput.run(running.named(*throughput.NAMES), cores, seconds, rounds)


def _paced(running: Running, cores: Cores, seconds: float, rounds: int) -> paced.Figures:
    (student,) = running.named(STUDENT)
    return paced.run(student, cores, seconds, rounds)


def _streams(
    running: Running, cores: Cores, seconds: float, rounds: int
) -> dict[str, streams.Figures]:
    return streams.run(running.named(*streams.NAMES), cores, seconds, rounds)


def _crowd(running: Running, cores: Cores, seconds: float) -> crowd.Figures:
    (protege,) = running.named(TEACHER)
    return crowd.run(protege, cores, 5 * seconds)


def _show(report: Report) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    if report.requests is not None:
        console.print(throughput.table(report.requests))
        for line in throughput.ratios(report.requests):
            console.print(line)
    if report.paced is not None:
        console.print(paced.sentence(report.paced))
    if report.streams is not None:
        console.print(streams.table(report.streams))
    if report.crowd is not None:
        console.print(crowd.sentence(report.crowd))
    if report.startup is not None:
        console.print(startup.sentence(report.startup))
    if report.workers is not None:
        for line in workers.sentences(report.workers):
            console.print(line)
    console.print(_conditions(report), style="dim")


def _conditions(report: Report) -> str:
    cores = report.cores
    placed = (
        "Subjects, stub and load generator share all cores."
        if cores.subjects is None
        else f"Subjects on core {cores.subjects}, stub and load generator on core {cores.load}."
    )
    return (
        f"Medians of {report.rounds} rounds of {report.seconds:g} s; rates, CPU and p99 "
        f"with {CONCURRENCY} connections, the rest with one. {placed} One worker each. "
        f"LiteLLM {report.litellm_version}: its proxy without database, keys or callbacks. "
        "Protege: keys with limits, store, metrics and audits on; its student answers "
        f"{report.student_share:.0%} of its route. "
        "The stub alone is the load generator's own limit."
    )


if __name__ == "__main__":
    typer.run(main)
