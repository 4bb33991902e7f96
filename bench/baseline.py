"""The plain baseline: what a simple student would have served of the same stream.

One rung, logistic regression on a sentence embedding of the prompt's text, learns from the teacher
answers so far at the product's schedule and has to pass the product's test: a closed set of
answers, a threshold found by learn-then-test on held-out requests, the same error budget over all
attempts, no new test without new evidence, and more answers than the champion before it. With
``--lag`` a training run takes so many seconds from falling due to a student in service: the
product's mean training lag, the same for every task and run, though the product's own vary.
Besides its student it differs from the product in that it hears an answer as soon as the request is
sent, in that a run learns from what was there when it fell due (the product's, from all that has
come by the time it starts), and in that audits teach it but never demote it.

    python -m bench.baseline --stream .demo/stream.jsonl --data .demo/data --lag 3.2
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import numpy as np
import numpy.typing as npt
import orjson
import typer
import xxhash
from threadpoolctl import threadpool_limits

from config.loading import load
from config.settings import PolicySettings, Settings
from distill import gate
from distill.answers import closed_set
from distill.data.dataset import common_head
from distill.runs.prospects import NEW_EVIDENCE
from distill.students import fitting
from distill.students.base import Prediction
from distill.students.classifier import Classifier
from distill.students.encoder import EncoderError, SentenceEncoder
from policies.agreement import agree
from policies.calibration import Outcomes, attempt_delta
from router.demo.report import Outcome, Summary, summarise

Embed = Callable[[Sequence[str]], npt.NDArray[np.floating[Any]]]
"""Gives one row a text; is called from several threads, and with the same texts again."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the stream, in the order sent."""

    task: str
    text: str
    answer: str
    """The teacher's."""
    teacher_cost: int
    """Picodollars."""
    sent_s: float
    """Seconds from the start of the stream."""


def read_stream(path: Path) -> list[Request]:
    """A stream file: JSON lines with the fields of Request."""
    return [Request(**orjson.loads(line)) for line in path.read_bytes().splitlines()]


def run(stream: Sequence[Request], settings: Settings, embed: Embed, lag_s: float = 0.0) -> Summary:
    """Play ``stream`` through one baseline a task, whose training runs take ``lag_s`` seconds."""
    by_task: dict[str, list[Request]] = {}
    for request in stream:
        by_task.setdefault(request.task, []).append(request)
    # One core a task: embedding and fitting scale better so than over several cores each.
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        played = pool.map(
            lambda requests: list(_Task(requests, settings, embed, lag_s).play()), by_task.values()
        )
        outcomes = [outcome for of_task in played for outcome in of_task]
    return summarise(outcomes, list(by_task))


@dataclass(frozen=True, slots=True)
class _Student:
    """What it would answer to each request of its task, and from which confidence on it does."""

    predictions: list[Prediction]
    threshold: float

    def answers(self, position: int) -> bool:
        return self.predictions[position].confidence >= self.threshold


@dataclass(frozen=True, slots=True)
class _Run:
    """A training run under way."""

    ends_s: float
    """In seconds of the stream."""
    student: _Student | None
    """Who serves from then on; None where nobody passes the test."""


class _Task:
    """The requests of one task, and the student that they teach."""

    def __init__(
        self, requests: Sequence[Request], settings: Settings, embed: Embed, lag_s: float
    ) -> None:
        texts = [request.text for request in requests]
        head = len(common_head(texts))
        self._texts = [text[head:] for text in texts]
        self._requests = requests
        self._answers = [request.answer.strip() for request in requests]
        self._policy, self._loop = settings.policy, settings.loop
        self._embed = embed
        self._lag_s = lag_s
        self._student: _Student | None = None
        self._run: _Run | None = None
        # Positions of requests whose teacher answers are known, and how many each stands for.
        self._heard: list[int] = []
        self._weights: list[float] = []
        self._due = float(settings.loop.first)
        self._share = 0.0
        self._attempts = 0
        self._tested_on = 0

    def play(self) -> Iterable[Outcome]:
        """What comes of each request, in order."""
        for position, request in enumerate(self._requests):
            self._end_run(request.sent_s)
            student, full = self._student, request.teacher_cost
            audited = _is_audited(request.text, self._policy.audit_rate)
            if student is not None and student.answers(position):
                agreed = agree(student.predictions[position].answer, request.answer)
                yield Outcome(request.task, "student", agreed, full if audited else 0, full)
                if not audited:
                    continue
                weight = 1 / self._policy.audit_rate
            else:
                yield Outcome(request.task, "teacher", None, full, full)
                weight = 1.0
            self._hear(position, weight)

    def _end_run(self, now_s: float) -> None:
        """Put the student of a run that is over into service."""
        if self._run is not None and now_s >= self._run.ends_s:
            self._student = self._run.student or self._student
            self._run = None

    def _hear(self, position: int, weight: float) -> None:
        """Take in a teacher answer; retrain when that is due and no run is under way."""
        self._heard.append(position)
        self._weights.append(weight)
        if len(self._heard) >= self._due and self._run is None:
            self._due = len(self._heard) * self._loop.growth
            ends_s = self._requests[position].sent_s + self._lag_s
            self._run = _Run(ends_s, self._retrain())

    def _retrain(self) -> _Student | None:
        """As a run of a label student, with the plain one; None where it is not promoted."""
        if len(self._heard) < NEW_EVIDENCE * self._tested_on:
            return None
        answers = [self._answers[position] for position in self._heard]
        labels = closed_set(answers)
        if not labels:
            return None
        texts = [self._texts[position] for position in self._heard]
        no_surprise = np.zeros(len(answers))
        fitted = fitting.fit(self._features(self._heard), answers, labels, no_surprise, texts)
        outcomes = Outcomes(
            fitted.confidences[:, None], fitted.agreed[:, None], np.array(self._weights)
        )
        delta = attempt_delta(self._policy.delta, self._attempts + 1)
        verdict = gate.judge(outcomes, self._share, self._policy.alpha, delta)
        if verdict.delta is not None:
            self._attempts += 1
            self._tested_on = len(self._heard)
        if not verdict.promoted or verdict.threshold is None:
            return None
        self._share = verdict.share
        everything = _predict(fitted.classifier, self._features(range(len(self._texts))))
        return _Student(everything, verdict.threshold)

    def _features(self, positions: Iterable[int]) -> npt.NDArray[np.float64]:
        """Embeddings [n, dim], only now that they are needed: most tasks cannot be learnt."""
        return self._embed([self._texts[position] for position in positions]).astype(np.float64)


def _predict(student: Classifier, features: npt.NDArray[np.float64]) -> list[Prediction]:
    """As sure of what is unlike the training data as of what is like it."""
    return student.predict(features, np.zeros(len(features)))


def _is_audited(text: str, share: float) -> bool:
    return xxhash.xxh3_64_intdigest(f"audit\0{text}".encode()) < share * 2**64


def main(
    stream: Annotated[Path, typer.Option(help="A stream file that `protege demo` has written.")],
    data: Annotated[Path, typer.Option(help="Data folder whose stored embeddings may be used.")],
    lag: Annotated[float, typer.Option(min=0, help="Seconds that a training run takes.")] = 0.0,
    alpha: Annotated[float, typer.Option(help="As in `protege demo`.")] = PolicySettings().alpha,
) -> None:
    """Print the plain baseline's figures for a recorded stream, as JSON."""
    settings = load(flags={"policy": {"alpha": alpha}})
    if settings.loop.encoder is None:
        _fail("the settings have no sentence encoder")
    try:
        encoder = SentenceEncoder.open(settings.loop.encoder, data / "encoder", remember=True)
        encoder.prepare()
    except EncoderError as error:
        _fail(str(error))
    summary = run(read_stream(stream), settings, encoder.embed, lag)
    print(json.dumps(dataclasses.asdict(summary), indent=2))


def _fail(reason: str) -> NoReturn:
    typer.echo(reason, err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
