"""One training run that lets a provider's cheaper model earn a task, by the tryouts made of it.

It is the dearest student: its answers cost money, and are worth what they save. So the one that
saves the greatest share of the teacher's cost takes over, and not the one that answers most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from config.settings import PolicySettings
from distill import gate
from distill.answers import closed_set
from distill.card import Card, HostedTest, Latency, Verdict
from distill.data.dataset import Dataset, Example
from distill.evaluation.report import report
from distill.evaluation.slices import cut
from distill.gate import Parts
from distill.students import hosted, label
from distill.students.ladder import Ladder
from distill.train import Run, divide, find_rival, ladder_of, to_beat
from distill.train_text import without_mistake
from policies.calibration import Given, Outcomes, attempt_delta
from telemetry.exchange import StudentRecord, TaskState
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


@dataclass(frozen=True, slots=True)
class _Trial:
    """A test of a hosted model on n tryouts, whatever stands before it."""

    rows: npt.NDArray[np.int64]
    """[n]: their examples' places in the dataset."""
    weights: Array
    """[n]"""
    trained: hosted.Trained
    agreed: npt.NDArray[np.bool_]
    """[n]: whether the model said what the teacher did."""
    costs: Array
    """[n]: picodollars that its answers cost,"""
    teacher_costs: Array
    """[n]: and the teacher's."""
    parts: Parts
    """All but what a candidate says."""
    to_beat: float
    alpha: float
    delta: float
    """The part of the error budget for each candidate."""

    @property
    def cost_ratio(self) -> float | None:
        """What its answers cost of what the teacher's do; None where these cost nothing."""
        whole = self.teacher_costs.sum()
        return float(self.costs.sum() / whole) if whole else None

    def candidate(self, *before: label.Trained[label.LabelRung]) -> _Candidate:
        """The model behind the rungs ``before`` it, which were trained on the whole dataset."""
        rows = self.rows
        confidences = [*(one.confidences[rows] for one in before), self.trained.confidences]
        right = [*(one.agreed[rows] for one in before), self.agreed]
        said = [
            *(one.probabilities.argmax(axis=1)[rows] for one in before),
            np.full(len(rows), _UNLABELLED),
        ]
        outcomes = Outcomes(np.stack(confidences, axis=1), np.stack(right, axis=1), self.weights)
        parts = replace(self.parts, said=np.stack(said, axis=1))
        verdict = gate.judge(outcomes, 0.0, self.alpha, self.delta, parts)
        saves = 0.0
        if verdict.threshold is not None:
            given = parts.given(outcomes.smoothed(), verdict)
            paid = np.where(given.rungs == len(before), self.costs, 0.0)
            saves = _share_saved(given, self.teacher_costs, paid)
        verdict = _compared(verdict, saves, self.to_beat)
        return _Candidate(
            (*[one.rung for one in before], self.trained.rung), outcomes, parts, verdict, saves
        )


def is_due(records: Sequence[StudentRecord], model: str, tryouts: int) -> bool:
    """Whether ``model`` should be tested for a task with these students, oldest first, now that so
    many tryouts have been made of it."""
    about = (Card.parse(record.card).hosted for record in records)
    tested = [test.tryouts for test in about if test is not None and test.model == model]
    return tryouts >= max(_GROWTH * max(tested, default=0), 1)


def retrain(
    task: str,
    version: str,
    data: Dataset,
    champion: Ladder | None,
    state: TaskState,
    policy: PolicySettings,
    evidence: Evidence,
) -> Run | None:
    """Learn which requests the hosted model answers as the teacher does, and put that to the gate,
    alone and behind a rung of n-grams.

    None where there are so few tryouts that not even a model without a mistake would pass.
    """
    rows = _tried(data.examples, evidence.tryouts)
    examples = [data.examples[row] for row in rows]
    tryouts = [evidence.tryouts[example.id] for example in examples]
    # Of the requests that the teacher was asked about, each was tried with some probability too.
    pairs = zip(examples, tryouts, strict=True)
    weights = np.array([example.weight / tryout.chance for example, tryout in pairs])
    delta = attempt_delta(policy.delta, state.attempts + 1)
    texts = [example.text for example in examples]
    divided = divide(policy, texts)
    strata = divided.part(np.arange(len(texts)))
    perfect = without_mistake(weights)
    flawless = Parts.plain(perfect, strata)
    if not gate.judge(perfect, 0.0, policy.alpha, delta / _CANDIDATES, flawless).promoted:
        return None
    agreed = np.array([tryout.agreed for tryout in tryouts])
    trained = hosted.train(evidence.model, texts, agreed, [example.group for example in examples])
    cheap, labels = _cheap(data)
    trial = _Trial(
        rows,
        weights,
        trained,
        agreed,
        np.array([tryout.cost for tryout in tryouts], dtype=float),
        np.array([evidence.teacher_costs[example.id] for example in examples], dtype=float),
        Parts(
            cut(texts, [example.answer for example in examples], labels, trained.surprise),
            labels,
            np.zeros((0, 0), dtype=np.int64),
            find_rival(champion, data.head, examples),
            strata=strata,
        ),
        to_beat(champion, policy),
        policy.alpha,
        delta / _CANDIDATES,
    )
    candidates = [trial.candidate()]
    if cheap is not None:
        candidates.append(trial.candidate(cheap))
    # One that was tested goes before one that was not: what its test has spent must be counted.
    best = max(
        candidates,
        key=lambda one: (one.verdict.promoted, one.verdict.delta is not None, one.saves),
    )
    verdict = best.verdict if best.verdict.delta is None else replace(best.verdict, delta=delta)
    about = HostedTest(
        evidence.model,
        len(evidence.tryouts),
        float(np.average(agreed, weights=weights)),
        trial.cost_ratio,
        best.saves,
    )
    names = tuple(rung.name for rung in best.rungs)
    if verdict.threshold is None:
        return Run(verdict, labels, names, hosted=about)
    smooth = best.outcomes.smoothed()
    given = best.parts.given(smooth, verdict)
    contradicted = np.array([example.contradicted for example in examples])
    figures = report(
        smooth, given, verdict.threshold, best.parts.slices, contradicted, policy.alpha
    )
    p50, p95 = np.quantile([1000 * tryout.latency_s for tryout in tryouts], (0.5, 0.95)).tolist()
    ladder = ladder_of(task, version, data, best.rungs, verdict, divided, policy)
    ladder = replace(ladder, saves=best.saves)
    return Run(verdict, labels, names, ladder, figures, Latency(p50, p95), hosted=about)


def _tried(examples: Sequence[Example], tryouts: Mapping[str, Tryout]) -> npt.NDArray[np.int64]:
    """The examples that count in a test and have a tryout."""
    return np.array(
        [row for row, one in enumerate(examples) if one.weight > 0 and one.id in tryouts],
        dtype=np.int64,
    )


def _cheap(data: Dataset) -> tuple[label.Trained[label.LabelRung] | None, tuple[str, ...]]:
    """A rung of n-grams of all the answers, and its labels; none where their set is not closed."""
    labels = closed_set(data.taught)
    if not labels:
        return None, ()
    return label.train(data.texts, data.answers, labels, groups=data.groups), labels


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
