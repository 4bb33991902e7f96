"""Whether the promise is kept: many reshuffles of a stream, with drift in a third of them.

A linear student is trained, tested, promoted, audited and demoted as the product's are, by its own
fitting, gate and audits, on streams made up for the purpose: two labels, points in ten dimensions,
and the nearer to the border, the likelier the other label. In every third run another border holds
from the second half on.

    python -m bench.promise --runs 200

What is counted: runs in which the students' answers, all of them and not only the audited, ever
contradict "at most alpha disagree" by the test of ``policies.promise``, so at any time. Where
nothing drifts that must be rare (``delta``). Where something does, it is counted how many audits
and how many answers passed before the student was taken out of service.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import orjson
import typer
from threadpoolctl import threadpool_limits

from config.loading import load
from config.settings import Settings
from distill import gate
from distill.students import fitting
from distill.students.classifier import Classifier
from policies.calibration import Outcomes, attempt_delta
from policies.promise import broken
from telemetry import audits
from telemetry.audits import AuditTally

_LABELS = ("minus", "plus")
_DIMENSIONS = 10


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests in order."""

    points: npt.NDArray[np.float64]
    """[n, dimensions]."""
    answers: list[str]
    """The teacher's."""
    drift: int | None
    """Where another border begins to hold."""

    def __len__(self) -> int:
        return len(self.answers)


@dataclass(slots=True)
class Played:
    """What became of a stream."""

    answered: int = 0
    """By students."""
    wrong: int = 0
    contradicted: bool = False
    """Whether students' answers ever contradicted the promise."""
    promotions: int = 0
    demoted_at: list[int] = field(default_factory=list)
    audits_since_drift: int = 0
    answers_since_drift: int = 0
    """Until the first demotion after it."""


def draw(rng: np.random.Generator, size: int, drifts: bool) -> Stream:
    points = rng.normal(size=(size, _DIMENSIONS))
    steepness = rng.uniform(2.0, 6.0)
    border = _direction(rng)
    drift = size // 2 if drifts else None
    score = points @ border
    if drift is not None:
        score[drift:] = points[drift:] @ _direction(rng)
    plus = rng.random(size) < 1 / (1 + np.exp(-steepness * score))
    return Stream(points, [_LABELS[one] for one in plus.astype(int)], drift)


def _direction(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    direction: npt.NDArray[np.float64] = rng.normal(size=_DIMENSIONS)
    return direction / np.linalg.norm(direction)


class _Loop:
    """The learning loop around one linear student."""

    def __init__(self, stream: Stream, settings: Settings, rng: np.random.Generator) -> None:
        self._stream, self._rng = stream, rng
        self._policy, self._loop = settings.policy, settings.loop
        self._attempts = 0
        self._answers: list[AuditTally] = []
        """All that students gave, as if every one had been audited."""
        self.played = Played()
        self._start_over()

    def _start_over(self) -> None:
        self._champion: Classifier | None = None
        self._threshold, self._share = 1.0, 0.0
        self._chance = np.ones(len(self._stream))
        self._heard: list[int] = []
        self._reached = np.zeros(len(self._stream))
        """How many requests would have reached the teacher, had all been like each of them."""
        self._requests = 0
        self._due = float(self._loop.first)
        self._audits: list[AuditTally] = []

    def play(self) -> Played:
        for position in range(len(self._stream)):
            self._requests += 1
            self._reached += self._chance
            agreed = self._agrees(position)
            if agreed is None:
                self._hear(position)
                continue
            self._count(position, agreed)
            if self._rng.random() < self._policy.audit_rate:
                self._hear(position)
                self._audit(position, agreed)
        return self.played

    def _agrees(self, position: int) -> bool | None:
        """Whether the student agrees with the teacher; None where it does not answer."""
        if self._champion is None:
            return None
        (said,) = self._champion.predict(self._stream.points[[position]], np.zeros(1))
        if said.confidence < self._threshold:
            return None
        return said.answer == self._stream.answers[position]

    def _count(self, position: int, agreed: bool) -> None:
        played, policy = self.played, self._policy
        played.answered += 1
        played.answers_since_drift += self._is_unnoticed(position)
        audits.add(self._answers, agreed)
        if not agreed:
            played.wrong += 1
            played.contradicted |= broken(self._answers, policy.alpha, policy.delta)

    def _audit(self, position: int, agreed: bool) -> None:
        self.played.audits_since_drift += self._is_unnoticed(position)
        audits.add(self._audits, agreed)
        if broken(self._audits, self._policy.alpha, self._policy.delta):
            self.played.demoted_at.append(position)
            self._start_over()

    def _is_unnoticed(self, position: int) -> bool:
        drift = self._stream.drift
        return drift is not None and position >= drift and not self._is_noticed(drift)

    def _is_noticed(self, drift: int) -> bool:
        return any(demoted >= drift for demoted in self.played.demoted_at)

    def _hear(self, position: int) -> None:
        self._heard.append(position)
        if len(self._heard) < self._due:
            return
        self._due = len(self._heard) * self._loop.growth
        fitted = _fit(self._stream, self._heard)
        delta = attempt_delta(self._policy.delta, self._attempts + 1)
        weights = self._requests / self._reached[self._heard]
        outcomes = Outcomes(fitted.confidences[:, None], fitted.agreed[:, None], weights, even=True)
        verdict = gate.judge(outcomes, self._share, self._policy.alpha, delta)
        self._attempts += verdict.delta is not None
        if verdict.promoted and verdict.threshold is not None:
            self.played.promotions += 1
            self._champion, self._share = fitted.classifier, verdict.share
            self._threshold = verdict.threshold
            self._audits = []
            self._chance = self._chances(fitted)

    def _chances(self, fitted: fitting.Fitted) -> npt.NDArray[np.float64]:
        """The probability that the teacher is asked about each request from here on."""
        said = fitted.classifier.predict(self._stream.points, np.zeros(len(self._stream)))
        confidences = np.array([one.confidence for one in said])
        # By cross-validation, where it was trained on the answer.
        confidences[self._heard] = fitted.confidences
        return np.where(confidences >= self._threshold, self._policy.audit_rate, 1.0)


def _fit(stream: Stream, positions: Sequence[int]) -> fitting.Fitted:
    answers = [stream.answers[position] for position in positions]
    names = [str(position) for position in positions]
    return fitting.fit(stream.points[positions], answers, _LABELS, np.zeros(len(answers)), names)


def hindsight(stream: Stream, alpha: float) -> float:
    """Share that one threshold could answer, chosen when all is known and by that alone."""
    fitted = _fit(stream, range(len(stream)))
    order = np.argsort(-fitted.confidences)
    wrong = np.cumsum(~fitted.agreed[order])
    within = np.flatnonzero(wrong <= alpha * np.arange(1, len(stream) + 1))
    return float((within[-1] + 1) / len(stream)) if len(within) else 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run's figures."""

    drifted: bool
    share: float
    """Of the stream, answered by students."""
    best: float
    """What hindsight could have answered."""
    disagreement: float
    contradicted: bool
    promotions: int
    demotions: int
    audits_to_notice: int | None
    """From the drift on; None where a student was not in service, or it was not noticed."""
    answers_to_notice: int | None
    wrong_alarm: bool
    """Demoted while nothing had changed."""


def run(seed: int, size: int, audit_rate: float) -> Run:
    rng = np.random.default_rng(seed)
    stream = draw(rng, size, drifts=seed % 3 == 0)
    settings = load(flags={"policy": {"audit_rate": audit_rate}})
    with threadpool_limits(1):
        played = _Loop(stream, settings, rng).play()
        best = hindsight(stream, settings.policy.alpha)
    drift = stream.drift
    noticed = drift is not None and any(at >= drift for at in played.demoted_at)
    return Run(
        drifted=drift is not None,
        share=played.answered / size,
        best=best,
        disagreement=played.wrong / max(1, played.answered),
        contradicted=played.contradicted,
        promotions=played.promotions,
        demotions=len(played.demoted_at),
        audits_to_notice=played.audits_since_drift if noticed else None,
        answers_to_notice=played.answers_since_drift if noticed else None,
        wrong_alarm=any(drift is None or at < drift for at in played.demoted_at),
    )


def report(runs: Sequence[Run]) -> dict[str, float]:
    """Shares and means over the runs."""
    calm = [one for one in runs if not one.drifted]
    drifted = [one for one in runs if one.drifted]
    noticed = [one for one in drifted if one.audits_to_notice is not None]
    return {
        "calm: runs": len(calm),
        "calm: promise ever contradicted": _mean(one.contradicted for one in calm),
        "calm: disagreement": _mean(one.disagreement for one in calm if one.promotions),
        "calm: answered": _mean(one.share for one in calm),
        "calm: answered by hindsight's best threshold": _mean(one.best for one in calm),
        "calm: demoted": _mean(one.wrong_alarm for one in calm),
        "drift: runs": len(drifted),
        "drift: promise ever contradicted": _mean(one.contradicted for one in drifted),
        "drift: noticed": len(noticed),
        "drift: audits to notice, median": _median(one.audits_to_notice for one in noticed),
        "drift: answers to notice, median": _median(one.answers_to_notice for one in noticed),
    }


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return float(np.mean(known)) if known else float("nan")


def _median(values: Iterable[int | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else float("nan")


def main(
    runs: Annotated[int, typer.Option(min=3)] = 200,
    requests: Annotated[int, typer.Option(help="Length of a stream.", min=500)] = 4000,
    audit_rate: Annotated[float, typer.Option(min=0.001, max=1)] = 0.1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every run here.")] = None,
) -> None:
    """Print how often the promise was broken, and what it cost."""
    one = partial(run, size=requests, audit_rate=audit_rate)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        played = list(pool.map(one, range(runs)))
    for name, value in report(played).items():
        print(f"{name:48} {value:9.4g}")
    if json_file is not None:
        json_file.write_bytes(orjson.dumps(played, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    typer.run(main)
