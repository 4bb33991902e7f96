"""One training run that lets a provider's cheaper model earn a task, by the tryouts made of it.

It is the dearest student: its answers cost money, and are worth what they save. So the one that
saves the greatest share of the teacher's cost takes over, and not the one that answers most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distill import gate
from distill.answers import closed_set
from distill.card import Card, HostedTest, Latency, Report, Verdict
from distill.data.dataset import Dataset
from distill.evaluation.report import report
from distill.evaluation.slices import cut
from distill.gate import Parts
from distill.runs.challenge import Challenge
from distill.runs.division import divide
from distill.runs.prospects import can_pass
from distill.runs.run import Run
from distill.students import hosted, label
from policies.calibration import Given, Outcomes
from telemetry.exchange import StudentRecord
from telemetry.tryouts import Tryout

Array = npt.NDArray[np.float64]

_GROWTH = 1.5
"""Factor by which a model's tryouts must have grown before it is tested again."""

_CANDIDATES = 2
"""The hosted model alone, and n-grams before it."""

_UNLABELLED = -1


@dataclass(frozen=True, slots=True)
class Evidence:
    """What tryouts of one hosted model say."""

    model: str
    tryouts: Mapping[str, Tryout]
    """By the id of the exchange."""
    teacher_costs: Mapping[str, int]
    """Picodollars that the teacher's answers to these cost."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Rungs that were tested together, the hosted one last."""

    rungs: tuple[label.LabelRung | hosted.HostedRung, ...]
    outcomes: Outcomes
    parts: Parts
    verdict: Verdict
    saves: float
    """Share of the teacher's cost that they save."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(rung.name for rung in self.rungs)


@dataclass(frozen=True, slots=True)
class _Tried:
    """The n examples of a dataset that count in a test and have a tryout."""

    evidence: Evidence
    rows: npt.NDArray[np.int64]
    """[n]: their places in the dataset."""
    data: Dataset
    """Of these alone."""

    @classmethod
    def of(cls, data: Dataset, evidence: Evidence) -> _Tried:
        pairs = enumerate(data.examples)
        rows = [row for row, one in pairs if one.weight > 0 and one.id in evidence.tryouts]
        examples = tuple(data.examples[row] for row in rows)
        return cls(evidence, np.array(rows, dtype=np.int64), replace(data, examples=examples))

    @property
    def tryouts(self) -> list[Tryout]:
        return [self.evidence.tryouts[example.id] for example in self.data.examples]

    @property
    def weights(self) -> Array:
        """[n]"""
        # Of the requests that the teacher was asked about, each was tried with some probability
        # too.
        pairs = zip(self.data.examples, self.tryouts, strict=True)
        return np.array([example.weight / tryout.chance for example, tryout in pairs])

    @property
    def agreed(self) -> npt.NDArray[np.bool_]:
        """[n]: whether the model said what the teacher did."""
        return np.array([tryout.agreed for tryout in self.tryouts])

    @property
    def costs(self) -> Array:
        """[n]: picodollars that the model's answers cost,"""
        return np.array([tryout.cost for tryout in self.tryouts], dtype=float)

    @property
    def teacher_costs(self) -> Array:
        """[n]: and the teacher's."""
        costs = self.evidence.teacher_costs
        return np.array([costs[example.id] for example in self.data.examples], dtype=float)

    @property
    def cost_ratio(self) -> float | None:
        """What its answers cost of what the teacher's do; None where these cost nothing."""
        whole = self.teacher_costs.sum()
        return float(self.costs.sum() / whole) if whole else None

    @property
    def latency(self) -> Latency:
        """How long it took to answer."""
        taken = [1000 * tryout.latency_s for tryout in self.tryouts]
        return Latency(*np.quantile(taken, (0.5, 0.95)).tolist())


@dataclass(frozen=True, slots=True)
class _Trial:
    """A test of a hosted model on n tryouts, whatever stands before it."""

    challenge: Challenge
    tried: _Tried
    trained: hosted.Trained
    parts: Parts
    """All but what a candidate says."""

    def candidate(self, *before: label.Trained[label.LabelRung]) -> _Candidate:
        """The model behind the rungs ``before`` it, which were trained on the whole dataset."""
        tried, rows = self.tried, self.tried.rows
        confidences = [*(one.confidences[rows] for one in before), self.trained.confidences]
        right = [*(one.agreed[rows] for one in before), tried.agreed]
        said = [
            *(one.probabilities.argmax(axis=1)[rows] for one in before),
            np.full(len(rows), _UNLABELLED),
        ]
        outcomes = Outcomes(np.stack(confidences, axis=1), np.stack(right, axis=1), tried.weights)
        parts = replace(self.parts, said=np.stack(said, axis=1))
        delta = _delta_each(self.challenge)
        verdict = gate.judge(outcomes, 0.0, self.challenge.alpha, delta, parts)
        saves = 0.0
        if verdict.threshold is not None:
            given = parts.given(outcomes.smoothed(), verdict)
            paid = np.where(given.rungs == len(before), tried.costs, 0.0)
            saves = _share_saved(given, tried.teacher_costs, paid)
        verdict = _compared(verdict, saves, self.challenge.to_beat)
        return _Candidate(
            (*[one.rung for one in before], self.trained.rung), outcomes, parts, verdict, saves
        )


def is_due(records: Sequence[StudentRecord], model: str, tryouts: int) -> bool:
    """Whether ``model`` should be tested for a task with these students, oldest first, now that so
    many tryouts have been made of it."""
    about = (Card.parse(record.card).hosted for record in records)
    tested = [test.tryouts for test in about if test is not None and test.model == model]
    return tryouts >= max(_GROWTH * max(tested, default=0), 1)


def retrain(challenge: Challenge, evidence: Evidence) -> Run | None:
    """Learn which requests the hosted model answers as the teacher does, and put that to the gate,
    alone and behind a rung of n-grams.

    None where there are so few tryouts that not even a model without a mistake would pass.
    """
    tried = _Tried.of(challenge.data, evidence)
    divided = divide(challenge.policy, tried.data.texts)
    strata = divided.part(np.arange(len(tried.rows)))
    if not can_pass(tried.weights, 0.0, challenge.alpha, _delta_each(challenge), strata):
        return None
    trained = hosted.train(evidence.model, tried.data.texts, tried.agreed, tried.data.groups)
    cheap, labels = _cheap(challenge.data)
    parts = Parts(
        cut(
            tried.data.texts,
            tried.data.answers,
            labels,
            trained.surprise,
            tried.data.told_apart,
        ),
        labels,
        np.zeros((0, 0), dtype=np.int64),
        challenge.rival(tried.data.examples),
        strata=strata,
    )
    trial = _Trial(challenge, tried, trained, parts)
    candidates = [trial.candidate()]
    if cheap is not None:
        candidates.append(trial.candidate(cheap))
    # One that was tested goes before one that was not: what its test has spent must be counted.
    best = max(
        candidates,
        key=lambda one: (one.verdict.promoted, one.verdict.delta is not None, one.saves),
    )
    verdict = best.verdict
    if verdict.delta is not None:
        verdict = replace(verdict, delta=challenge.delta)
    run = Run(verdict, labels, best.names, hosted=_about(tried, best))
    if verdict.threshold is None:
        return run
    ladder = replace(challenge.ladder(best.rungs, verdict, divided), saves=best.saves)
    figures = _figures(challenge, tried, best, verdict, verdict.threshold)
    return replace(run, ladder=ladder, report=figures, latency=tried.latency)


def _delta_each(challenge: Challenge) -> float:
    """The part of the error budget for each candidate."""
    return challenge.delta / _CANDIDATES


def _about(tried: _Tried, best: _Candidate) -> HostedTest:
    evidence = tried.evidence
    agreed = float(np.average(tried.agreed, weights=tried.weights))
    return HostedTest(evidence.model, len(evidence.tryouts), agreed, tried.cost_ratio, best.saves)


def _figures(
    challenge: Challenge, tried: _Tried, best: _Candidate, verdict: Verdict, threshold: float
) -> Report:
    """What becomes of the evidence at the ``threshold`` of the ``verdict``."""
    smooth = best.outcomes.smoothed()
    given = best.parts.given(smooth, verdict)
    contradicted = np.array([example.contradicted for example in tried.data.examples])
    slices = best.parts.slices
    return report(smooth, given, threshold, slices, contradicted, challenge.alpha)


def _cheap(data: Dataset) -> tuple[label.Trained[label.LabelRung] | None, tuple[str, ...]]:
    """A rung of n-grams of all the answers, and its labels; none where their set is not closed."""
    labels = closed_set(data.taught)
    if not labels:
        return None, ()
    trained = label.train(data.texts, data.answers, labels, groups=data.groups)
    return replace(trained, agreed=data.agreed(trained.agreed, trained.said)), labels


def _share_saved(given: Given, teacher: Array, own: Array) -> float:
    """The share of what the ``teacher`` [n] costs that is saved, the answers' ``own`` cost [n]
    deducted."""
    whole = float(given.weights @ teacher)
    gain = float((given.weights * given.answered) @ (teacher - own))
    return gain / whole if whole else 0.0


def _compared(verdict: Verdict, saves: float, served: float) -> Verdict:
    """The verdict of a challenger that keeps the bound: whether it saves more than the champion."""
    if not verdict.promoted:
        return verdict
    words = f"saves {saves:.0%} of the teacher's cost"
    if saves <= served:
        words += f", the champion {served:.0%}"
    return replace(verdict, promoted=saves > served, reason=f"{verdict.reason}; {words}")
