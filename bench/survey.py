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

import orjson
import typer
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from bench import baseline
from config.settings import Settings, load
from distill import schedule
from distill.dataset import build
from distill.students.base import Prediction
from distill.students.encoder import SentenceEncoder
from distill.students.ladder import Ladder
from distill.train import retrain
from policies.agreement import agree
from policies.promise import broken
from router.demo import evals
from router.demo.report import Outcome, Row, summarise
from router.demo.samples import Sample
from telemetry.exchange import Exchange, TaskState
from telemetry.store import AuditTally

LEAST_SAMPLES = 300


@dataclass(frozen=True, slots=True)
class Compared:
    """One task's figures: the product's and the plain baseline's."""

    product: Row
    plain: Row


class Play:
    """One task's stream and what the learning loop makes of it."""

    def __init__(self, settings: Settings, encoder: SentenceEncoder | None, rng: Random) -> None:
        self._policy, self._loop = settings.policy, settings.loop
        self._encoder = encoder
        self._rng = rng
        self._champion: Ladder | None = None
        self._audits = AuditTally(0, 0)
        self._evidence: list[Exchange] = []
        self._state = TaskState("task")

    def run(self, samples: Sequence[Sample]) -> list[Outcome]:
        """What comes of each sample, in order. Money is left out."""
        return [self._answer(position, sample) for position, sample in enumerate(samples)]

    def _answer(self, position: int, sample: Sample) -> Outcome:
        sampled = self._champion is None or self._rng.random() < self._policy.audit_rate
        prediction = self._confident(sample)
        if prediction is None or sampled:
            self._evidence.append(_exchange(position, sample, sampled))
        if prediction is None:
            self._learn()
            return Outcome(sample.task, "teacher", None, 1, 1)
        agreed = agree(prediction.answer, sample.answer)
        if sampled:
            self._audit(agreed)
        self._learn()
        return Outcome(sample.task, "student", agreed, int(sampled), 1)

    def _confident(self, sample: Sample) -> Prediction | None:
        """The student's answer; None where the teacher is to answer."""
        if self._champion is None:
            return None
        text = self._champion.varying(sample.text)
        for rung in self._champion.rungs:
            (prediction,) = rung.predict([text])
            if prediction.confidence >= self._champion.threshold:
                return prediction
        return None

    def _audit(self, agreed: bool) -> None:
        tally = AuditTally(self._audits.audits + 1, self._audits.disagreements + (not agreed))
        self._audits = tally
        if broken(tally.audits, tally.disagreements, self._policy.alpha, self._policy.delta):
            self._champion = None
            self._evidence = []
            self._state = TaskState("task", attempts=self._state.attempts)

    def _learn(self) -> None:
        """Retrain if that is due."""
        answers = {"task": len(self._evidence)}
        states = {"task": self._state}
        if not schedule.due(answers, states, self._state.trained_at, self._loop, took={}):
            return
        data = build(self._evidence, self._loop.holdout)
        run = retrain(
            "task", data.version, data, self._champion, self._state, self._policy, self._encoder
        )
        self._state = run.advance(self._state, len(self._evidence), self._state.trained_at)
        if run.ladder is not None:
            self._champion, self._audits = run.ladder, AuditTally(0, 0)


def _exchange(position: int, sample: Sample, sampled: bool) -> Exchange:
    return Exchange(
        id=str(position),
        created=float(position),
        task="task",
        route="teacher",
        model="recorded",
        reason="no_student",
        status=200,
        stream=False,
        sampled=sampled,
        request=orjson.dumps({"messages": sample.messages}).decode(),
        teacher_answer=sample.answer,
        finish_reason="stop",
    )


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
        outcomes = Play(settings, encoder, Random(seed)).run(samples)
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
    play = partial(compare, requests=requests, seed=seed, cache=cache)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        compared = [one for one in pool.map(play, chosen) if one is not None]
    console = Console(width=None if os.isatty(1) else 120)
    console.print(table(compared, everything=bool(tasks)))
    broke = [one for one in compared if (one.product.student_agreement or 1.0) < 0.95]
    console.print(
        f"Below 95% agreement: {len(broke)} of {len(compared)} tasks"
        + "".join(f"; {one.product.task} {one.product.student_agreement:.1%}" for one in broke)
    )


if __name__ == "__main__":
    typer.run(main)
