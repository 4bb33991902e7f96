"""The learning loop over many tasks, offline and without training lag, beside the plain baseline.

Each task's samples are played in random order through the product's own dataset, training runs,
gate, audits and demotion, with the recorded answer as the teacher's. What is left out is what takes
time: network, processes, and the wait for a training run.

    python -m bench.survey --requests 1500                  # every task with at least 300 samples
    python -m bench.survey --tasks event_categories,food --seed 3
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from bench import baseline
from config.loading import load
from config.settings import Settings
from distill.forecast import Play, Request
from distill.students.encoder import SentenceEncoder
from router.demo import evals
from router.demo.report import Outcome, Row, summarise
from router.demo.samples import Sample
from telemetry.prices import Usage

LEAST_SAMPLES = 300


@dataclass(frozen=True, slots=True)
class Compared:
    """One task's figures: the product's and the plain baseline's."""

    product: Row
    plain: Row


def play(
    samples: Sequence[Sample], settings: Settings, encoder: SentenceEncoder | None, seed: int
) -> list[Outcome]:
    """What becomes of each sample of one task, in order. Money is left out: a call costs 1."""
    requests = [
        Request({"messages": sample.messages}, sample.text, sample.answer, Usage())
        for sample in samples
    ]
    steps = Play(settings, encoder, Random(seed)).run(requests)
    return [
        Outcome(
            sample.task,
            step.route,
            step.agreed if step.route == "student" else None,
            int(step.route == "teacher" or step.audited),
            1,
        )
        for sample, step in zip(samples, steps, strict=True)
    ]


def compare(task: str, requests: int, seed: int, cache: Path) -> Compared | None:
    """Play one task; None where it has too few samples."""
    archive = evals.Evals(evals.fetch(evals.default_cache()))
    samples = archive.load(task, requests, Random(seed)).samples
    archive.close()
    if len(samples) < LEAST_SAMPLES:
        return None
    settings = load()
    encoder = SentenceEncoder.open(encoder_name(settings), cache, remember=True)
    with threadpool_limits(1):
        outcomes = play(samples, settings, encoder, seed)
        stream = [baseline.Request(task, sample.text, sample.answer, 1, 0.0) for sample in samples]
        plain = baseline.run(stream, settings, encoder.embed, lag_s=0.0)
    return Compared(summarise(outcomes, [task]).tasks[0], plain.tasks[0])


def encoder_name(settings: Settings) -> str:
    if settings.loop.encoder is None:
        raise typer.BadParameter("the settings have no sentence encoder to compare with")
    return settings.loop.encoder


def table(compared: Iterable[Compared], everything: bool) -> Table:
    """Tasks with student answers, or all with ``everything``; the means over all below."""
    shown = Table(caption="*: the plain baseline on the same stream, put to the same test")
    shown.add_column("task")
    for heading in ("requests", "student", "agreement", "student*", "agreement*"):
        shown.add_column(heading, justify="right")
    rows = list(compared)
    for one in rows:
        if everything or one.product.student_answers or one.plain.student_answers:
            requests = f"{one.product.requests:,}"
            shown.add_row(one.product.task, requests, *_cells(one.product), *_cells(one.plain))
    shown.add_section()
    means = [
        f"{sum(row.student_share for row in side) / len(rows):.1%}"
        for side in ([one.product for one in rows], [one.plain for one in rows])
    ]
    shown.add_row(f"mean of {len(rows)} tasks", "", means[0], "", means[1], "", style="bold")
    return shown


def _cells(row: Row) -> tuple[str, str]:
    agreement = "–" if row.student_agreement is None else f"{row.student_agreement:.1%}"
    return f"{row.student_share:.1%}", agreement


def main(
    tasks: Annotated[str, typer.Option(help="Comma-separated; default: all large enough.")] = "",
    requests: Annotated[int, typer.Option(help="Most requests of one task.", min=1)] = 1500,
    seed: int = 0,
    cache: Annotated[Path, typer.Option(help="Folder for embeddings.")] = Path(".bench/encoder"),
) -> None:
    """Print share and agreement by task."""
    archive = evals.Evals(evals.fetch(evals.default_cache()))
    chosen = tasks.split(",") if tasks else archive.tasks()
    archive.close()
    SentenceEncoder.open(encoder_name(load()), cache).prepare()
    compared_on = partial(compare, requests=requests, seed=seed, cache=cache)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        compared = [one for one in pool.map(compared_on, chosen) if one is not None]
    console = Console(width=None if os.isatty(1) else 120)
    console.print(table(compared, everything=bool(tasks)))
    broke = [one for one in compared if (one.product.student_agreement or 1.0) < 0.95]
    console.print(
        f"Below 95% agreement: {len(broke)} of {len(compared)} tasks"
        + "".join(f"; {one.product.task} {one.product.student_agreement:.1%}" for one in broke)
    )


if __name__ == "__main__":
    typer.run(main)
