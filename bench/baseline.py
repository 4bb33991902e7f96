"""The plain baseline: what a simple student would have served of the same stream.

A sentence embedding of the prompt's text, logistic regression, and the single threshold that
serves most while its held-out error keeps the same bound. It is trained at the product's schedule
on the teacher answers it has so far. The comparison is generous to it: it pays neither for looking
many times nor for picking the best of many thresholds.

    python -m bench.baseline --stream .demo/stream.jsonl
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import orjson
import typer
import xxhash
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from config.settings import LoopSettings, PolicySettings, Settings, load
from distill.dataset import common_head, is_held_out
from distill.students.encoder import SentenceEncoder
from policies.agreement import agree
from router.demo.report import Outcome, Summary, summarise

Floats = npt.NDArray[np.floating[Any]]
Embed = Callable[[Sequence[str]], Floats]


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the stream, in the order sent."""

    task: str
    text: str
    answer: str
    """The teacher's."""
    teacher_cost: int
    """Picodollars."""


def read_stream(path: Path) -> list[Request]:
    """A stream file: JSON lines with the fields of Request."""
    return [Request(**orjson.loads(line)) for line in path.read_bytes().splitlines()]


def run(stream: Sequence[Request], settings: Settings, embed: Embed) -> Summary:
    """Play ``stream`` through one baseline a task. ``embed`` gives one row a text."""
    by_task: dict[str, list[Request]] = {}
    for request in stream:
        by_task.setdefault(request.task, []).append(request)
    # One core a task: embedding and fitting scale better so than over several cores each.
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        played = pool.map(lambda requests: list(_play(requests, settings, embed)), by_task.values())
        outcomes = [outcome for of_task in played for outcome in of_task]
    return summarise(outcomes, list(by_task))


@dataclass(frozen=True, slots=True)
class _Student:
    """What it would answer to each request of the task, and how sure it is."""

    answers: npt.NDArray[np.str_]
    confidences: Floats
    threshold: float


@dataclass(slots=True)
class _Heard:
    """Positions of the requests whose teacher answers are known."""

    train: list[int] = field(default_factory=list)
    held_out: list[int] = field(default_factory=list)
    sample: list[int] = field(default_factory=list)
    """Those held out that are a uniform random sample of the traffic."""

    def __len__(self) -> int:
        return len(self.train) + len(self.held_out)


def _play(requests: Sequence[Request], settings: Settings, embed: Embed) -> Iterable[Outcome]:
    texts = [request.text for request in requests]
    head = len(common_head(texts))
    embeddings = cache(lambda: embed([text[head:] for text in texts]))
    heard = _Heard()
    student: _Student | None = None
    due: float = settings.loop.first
    for position, request in enumerate(requests):
        audited = _is_audited(request.text, settings.policy.audit_rate)
        full = request.teacher_cost
        if student is None or student.confidences[position] < student.threshold:
            yield Outcome(request.task, "teacher", None, full, full)
        else:
            agreed = agree(str(student.answers[position]), request.answer)
            yield Outcome(request.task, "student", agreed, full if audited else 0, full)
            if not audited:
                continue
        if not is_held_out(request.text, settings.loop.holdout):
            heard.train.append(position)
        else:
            heard.held_out.append(position)
            if student is None or audited:
                heard.sample.append(position)
        if len(heard) >= due:
            due = len(heard) * settings.loop.growth
            student = _train(requests, heard, settings, embeddings) or student


def _is_audited(text: str, share: float) -> bool:
    return xxhash.xxh3_64_intdigest(f"audit\0{text}".encode()) < share * 2**64


def _train(
    requests: Sequence[Request],
    heard: _Heard,
    settings: Settings,
    embeddings: Callable[[], Floats],
) -> _Student | None:
    """A student that keeps the bound on the held-out sample; None where there is none."""
    answers = np.array([request.answer.strip() for request in requests])
    known = set(answers[heard.train])
    can_be_right = sum(answer in known for answer in answers[heard.sample])
    alpha, delta = settings.policy.alpha, settings.policy.delta
    if upper_bounds(np.array([0]), np.array([can_be_right]), delta)[0] > alpha:
        return None
    best, sure = _classify(embeddings(), answers, heard.train)
    right = best[heard.sample] == answers[heard.sample]
    chosen = threshold(sure[heard.sample], right, alpha, delta)
    return None if chosen is None else _Student(best, sure, chosen)


def _classify(
    embeddings: Floats, answers: npt.NDArray[np.str_], train: Sequence[int]
) -> tuple[npt.NDArray[np.str_], Floats]:
    """The likeliest answer to every request and its probability, learnt from those in ``train``."""
    if len(set(answers[train])) == 1:
        return np.full(len(answers), answers[train][0]), np.ones(len(answers))
    model = LogisticRegression(max_iter=200).fit(embeddings[train], answers[train])
    probabilities = model.predict_proba(embeddings)
    return model.classes_[probabilities.argmax(axis=1)], probabilities.max(axis=1)


def threshold(
    confidences: Floats, right: npt.NDArray[np.bool_], alpha: float, delta: float
) -> float | None:
    """The threshold that most of ``confidences`` reach while the Clopper-Pearson bound on the error
    of those is at most ``alpha``; None where there is none."""
    order = np.argsort(-confidences, kind="stable")
    sorted_ = confidences[order]
    ends_tie = np.append(sorted_[1:] != sorted_[:-1], True)[: len(order)]
    answered = np.arange(1, len(order) + 1)
    keeps = upper_bounds(np.cumsum(~right[order]), answered, delta) <= alpha
    good = sorted_[ends_tie & keeps]
    return float(good[-1]) if len(good) else None


def upper_bounds(
    wrong: npt.NDArray[np.integer[Any]], answered: npt.NDArray[np.integer[Any]], delta: float
) -> Floats:
    """Clopper-Pearson upper bounds on error rates, each with confidence ``1 - delta``."""
    bounds = beta.ppf(1 - delta, wrong + 1, np.maximum(answered - wrong, 1))
    return np.where(wrong < answered, bounds, 1.0)


def main(
    stream: Annotated[Path, typer.Option(help="A stream file that `protege demo` has written.")],
    data: Annotated[Path, typer.Option(help="Data folder whose stored embeddings may be used.")],
    alpha: Annotated[float, typer.Option(help="As in `protege demo`.")] = PolicySettings().alpha,
) -> None:
    """Print the plain baseline's figures for a recorded stream, as JSON."""
    settings = load(flags={"policy": {"alpha": alpha}})
    name = settings.loop.encoder or LoopSettings().encoder or ""
    encoder = SentenceEncoder.open(name, data / "encoder", remember=True)
    first = Lock()

    def embed(texts: Sequence[str]) -> Floats:
        # The first use may export the encoder, which is not for two threads at once.
        with first:
            encoder.embed(texts[:1])
        return encoder.embed(texts)

    summary = run(read_stream(stream), settings, embed)
    print(json.dumps(dataclasses.asdict(summary), indent=2))


if __name__ == "__main__":
    typer.run(main)
