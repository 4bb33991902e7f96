"""The test that a challenger must pass to replace the champion, overall and on every slice.

Overall it is ``policies.calibration.walk``: all thresholds that pass hold together, so any of them
may be used, whatever it is chosen by. It is the laxest one at which

* answers that are shown to be wrong too often are left to the teacher: each label is tested at each
  threshold, with a part of the error budget for all of these tests. Where both are right, that the
  answers as a whole keep the bound and that a part of them breaks it, the others keep it too;
* no slice of the requests is then shown to break the bound, nor are the newest answers by a student
  of older ones alone, and on none the challenger is shown to be worse than the champion where that
  answers. These are vetoes, on the safe side of the promise:
  they spend nothing of the budget, and what is too small to tell raises none.

Where each of some slices must keep the bound on its own (``distill.evaluation.strata``), each is
put to a walk of its own, with an equal part of the budget, and has a threshold of its own; one in
which none passes is left to the teacher. Together they then keep the bound too. No label is left
out: what the others of its slice come to without it was not tested.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from distill.card import Verdict
from distill.evaluation.slices import Mask, Slice
from policies.calibration import (
    Given,
    Outcomes,
    Prospect,
    Tally,
    Tested,
    Threshold,
    lower_bound,
    prospect,
    walk,
)

_FOR_LABELS = 0.05
"""Part of the error budget for telling which labels are wrong too often."""

_VETO = 0.05
"""Probability that a challenger without fault is stopped by any slice, for each kind of veto."""

MARGIN = 0.02
"""Share of the champion's answers that the challenger may get wrong beyond the champion's own."""

_LEAST_PAIRS = 30
"""Answers that are compared at least, with the champion's or with those to the newest requests."""

Placed = Sequence[str] | None
"""The slice [n] that each request is in, where each slice must keep the bound on its own."""

_WHOLE = "all requests"
"""Name of the one slice where none must."""


@dataclass(frozen=True, slots=True)
class Rival:
    """What the champion makes of the challenger's n requests, as far as that can be compared."""

    answered: Mask
    """[n]: which it answers, of those that it was not trained on."""
    wrong: Mask
    """[n]: which of these it answers otherwise than the teacher."""


@dataclass(frozen=True, slots=True)
class Newest:
    """What a student of older answers alone makes of the newest n."""

    outcomes: Outcomes
    said: npt.NDArray[np.int64]
    """[n, rungs]: the label that each rung says."""
    strata: Placed = None

    def given(self, verdict: Verdict, barred: Sequence[int]) -> Given:
        """What is answered by that verdict, ``barred`` being its labels' places."""
        return _given(self.outcomes, self.said, thresholds(verdict, self.strata), barred)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the evidence, n requests, is divided by."""

    slices: Sequence[Slice]
    labels: Sequence[str]
    said: npt.NDArray[np.int64]
    """[n, rungs]: the label that each rung says; -1 where it says something else."""
    rival: Rival | None = None
    newest: Newest | None = None
    strata: Placed = None

    @classmethod
    def plain(cls, outcomes: Outcomes, strata: Placed = None) -> Parts:
        """Evidence with these ``outcomes`` that is divided by ``strata`` alone, if at all."""
        return cls((), (), np.full(outcomes.agreed.shape, -1), strata=strata)

    def places(self, barred: Sequence[str]) -> list[int]:
        """Those labels' places among all."""
        return [self.labels.index(label) for label in barred]

    def given(self, evidence: Outcomes, verdict: Verdict) -> Given:
        """What is answered by that verdict."""
        at = thresholds(verdict, self.strata)
        return _given(evidence, self.said, at, self.places(verdict.barred))


Step = Mapping[str, Tested]
"""Tests that passed together, by the slice's name: one for each that keeps the bound at some
threshold."""


@dataclass(frozen=True, slots=True)
class _Stratum:
    """Requests that must keep the bound on their own, and what is expected of that."""

    name: str
    outcomes: Outcomes
    expected: Prospect
    share: float
    """Of the task's requests that would be answered here."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """Thresholds that keep the bound, and what the parts of the evidence say."""

    step: Step
    tally: Tally
    share: float
    barred: tuple[str, ...] = ()
    veto: str | None = None
    held_back: str | None = None
    """What spoke against a laxer one."""


def numbered(said: Sequence[Sequence[str]], labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """[n, rungs]: the place among ``labels`` of what each rung ``said`` [rungs, n]; -1 for an
    answer that is none of them."""
    place = {label: i for i, label in enumerate(labels)}
    return np.array([[place.get(answer, -1) for answer in answers] for answers in said]).T


def _given(
    outcomes: Outcomes,
    said: npt.NDArray[np.int64],
    threshold: Threshold,
    barred: Sequence[int],
) -> Given:
    given = outcomes.given(threshold)
    return given.without(np.isin(said[np.arange(len(outcomes)), given.rungs], barred))


def thresholds(verdict: Verdict, strata: Placed) -> Threshold:
    """Those of requests in these ``strata``."""
    return _threshold(verdict.floors, strata) if verdict.floors else verdict.threshold or 0.0


def _threshold(floors: Mapping[str, float], strata: Placed) -> Threshold:
    if strata is None:
        (threshold,) = floors.values()
        return threshold
    return np.array([floors.get(name, math.inf) for name in strata])


def expected_share(outcomes: Outcomes, alpha: float, delta: float, strata: Placed = None) -> float:
    """The share of the task's requests that a test at level ``delta`` is expected to let a student
    answer, by its confidences alone: what candidates are compared by before one is tested."""
    level = delta if strata is not None else (1 - _FOR_LABELS) * delta
    return _share(_divided(outcomes.smoothed(), alpha, level, strata))


def judge(
    outcomes: Outcomes,
    champion_share: float,
    alpha: float,
    delta: float,
    parts: Parts | None = None,
) -> Verdict:
    """Promote the challenger iff it meets the bound and answers more than the champion.

    ``outcomes`` are the challenger's on teacher answers that it was not trained on, and
    ``champion_share`` is the share of the task's requests that the champion answers. Without
    ``parts`` the answers are tested as a whole. No test is made, and none of the budget ``delta``
    spent, where the challenger's own confidences do not let it expect to take over.
    """
    told = parts or Parts.plain(outcomes)
    evidence = outcomes.smoothed()
    for_labels = _FOR_LABELS * delta if told.labels and told.strata is None else 0.0
    divided = _divided(evidence, alpha, delta - for_labels, told.strata)
    expected = _share(divided)
    if not divided or expected <= champion_share:
        reason = _not_worth(expected if divided else None, champion_share)
        return Verdict(False, reason, evidence=len(outcomes))
    level = (delta - for_labels) / _count(told.strata)
    steps = _steps({one.name: walk(one.outcomes, one.expected, alpha, level) for one in divided})
    if not steps:
        reason = "no threshold meets the bound"
        return Verdict(False, reason, evidence=len(outcomes), delta=delta)
    tests = sum(len(one.expected.stricter + one.expected.laxer) for one in divided)
    best = _choose(evidence, steps, told, alpha, for_labels / tests)
    floors = _floors(best.step)
    return Verdict(
        best.veto is None and best.share > champion_share,
        best.veto or _in_words(best, champion_share, told.strata),
        min(floors.values()),
        len(outcomes),
        best.tally.answered,
        best.tally.wrong,
        best.share,
        max(tested.upper for tested in best.step.values()),
        delta,
        best.barred,
        best.veto,
        {} if told.strata is None else floors,
    )


def _count(strata: Placed) -> int:
    return 1 if strata is None else len(set(strata))


def _divided(evidence: Outcomes, alpha: float, delta: float, strata: Placed) -> list[_Stratum]:
    """The slices, or the whole, of which any threshold is expected to pass at its part of
    ``delta``."""
    names = np.asarray([_WHOLE] * len(evidence) if strata is None else strata)
    found = []
    for name in dict.fromkeys(names.tolist()):
        rows = names == name
        part = evidence.part(rows)
        expected = prospect(part, alpha, delta / _count(strata))
        if expected is not None:
            of_all = float(part.weights.sum() / evidence.weights.sum())
            found.append(_Stratum(name, part, expected, of_all * expected.share))
    return found


def _share(divided: Sequence[_Stratum]) -> float:
    return sum(one.share for one in divided)


def _steps(walked: Mapping[str, Sequence[Tested]]) -> list[Step]:
    """From strict to lax, what passed: at each threshold that did in any slice, every slice has
    the laxest of its own that is no laxer."""
    passed = {name: [one for one in tests if one.passed] for name, tests in walked.items()}
    thresholds = sorted({one.threshold for tests in passed.values() for one in tests}, reverse=True)
    return [
        {
            name: min(strict, key=lambda one: one.threshold)
            for name, tests in passed.items()
            if (strict := [one for one in tests if one.threshold >= threshold])
        }
        for threshold in thresholds
    ]


def _floors(step: Step) -> dict[str, float]:
    return {name: tested.threshold for name, tested in step.items()}


def observed(outcomes: Outcomes, alpha: float) -> float | None:
    """The laxest threshold at which no more than ``alpha`` of the answers are seen to be wrong.

    It promises nothing: of many thresholds one always looks good. None where there is none.
    """
    surest = np.sort(outcomes.surest)[::-1]
    steps = surest[_LEAST_PAIRS - 1 :: _LEAST_PAIRS].tolist()
    tallies = ((threshold, outcomes.tally(threshold)) for threshold in steps)
    good = [each for each, tally in tallies if tally.wrong_weight <= alpha * tally.weight]
    return good[-1] if good else None


def _not_worth(expected: float | None, champion_share: float) -> str:
    """Why no test is made."""
    if expected is None:
        return "by its own confidence it would not meet the bound yet"
    return f"would answer {expected:.0%} of requests, the champion {champion_share:.0%}"


def _in_words(best: _Choice, champion_share: float, strata: Placed) -> str:
    words = f"answers {best.share:.0%} of requests"
    if best.share <= champion_share:
        words += f", the champion {champion_share:.0%}"
    else:
        words += " within the bound"
    untold = [] if strata is None else sorted(set(strata) - best.step.keys())
    if left := (*best.barred, *untold):
        words += f"; leaves {', '.join(map(repr, left))} to the teacher"
    return f"{words}; if it answered more, {best.held_back}" if best.held_back else words


def _choose(
    evidence: Outcomes, steps: Sequence[Step], parts: Parts, alpha: float, level: float
) -> _Choice:
    """The laxest step that no part of the evidence speaks against; the strictest, and what speaks
    against it, where there is none. ``level`` is for all labels at one threshold."""
    total = float(evidence.weights.sum())
    held_back = None
    for step in reversed(steps):
        floors = _floors(step)
        given = evidence.given(_threshold(floors, parts.strata))
        said = parts.said[np.arange(len(evidence)), given.rungs]
        bad = _wrong_labels(given, said, len(parts.labels), alpha, level)
        given = given.without(np.isin(said, bad))
        tally = given.tally()
        barred = tuple(parts.labels[label] for label in bad)
        veto = (
            _broken(given, parts.slices, alpha)
            or _outdated(parts.newest, floors, bad, alpha)
            or _worse(given, parts)
        )
        choice = _Choice(step, tally, tally.weight / total, barred, veto, held_back)
        if veto is None:
            break
        held_back = held_back or veto
    return choice


def _wrong_labels(
    given: Given, said: npt.NDArray[np.int64], labels: int, alpha: float, level: float
) -> list[int]:
    """The labels that are shown to be wrong in more than ``alpha`` of the answers."""
    return [
        label
        for label in range(labels)
        if lower_bound(given.tally(said == label), level / labels) > alpha
    ]


def _broken(given: Given, slices: Sequence[Slice], alpha: float) -> str | None:
    """The slice, if any, that is shown to break the bound.

    What the teacher answers says nothing: a request whose answer is unusual is one that the student
    is wrong on, if it answers at all.
    """
    told = [each for each in slices if each.kind != "answer"]
    for each in told:
        tally = given.tally(each.rows)
        if lower_bound(tally, _VETO / len(told)) > alpha:
            answers = f"{tally.wrong} of {tally.answered} answers"
            return f"{answers} are wrong where {each.kind} is {each.name}"
    return None


def _outdated(
    newest: Newest | None, floors: Mapping[str, float], barred: Sequence[int], alpha: float
) -> str | None:
    """What shows, if anything does, that what was learnt from older answers breaks the bound on the
    newest ones."""
    if newest is None:
        return None
    at = _threshold(floors, newest.strata)
    tally = _given(newest.outcomes, newest.said, at, barred).tally()
    if tally.answered < _LEAST_PAIRS or lower_bound(tally, _VETO) <= alpha:
        return None
    answers = f"{tally.wrong} of {tally.answered} answers to the newest requests"
    return f"{answers} are wrong by a student of older ones"


def _worse(given: Given, parts: Parts) -> str | None:
    """The slice, if any, on which the challenger is shown to be worse than the champion.

    The two are compared on what the champion answers and has not been trained on; a request that
    the challenger leaves to the teacher is not wrong. The mean difference is taken for normal.
    """
    rival = parts.rival
    if rival is None:
        return None
    both = rival.answered
    told = [(f"where {each.kind} is {each.name}", each.rows) for each in parts.slices]
    told.append(("of all that it answers", np.ones(len(both), dtype=bool)))
    for name, rows in told:
        where = both & rows
        difference = given.wrong[where].astype(float) - rival.wrong[where]
        weights = given.weights[where]
        if _least_mean(difference, weights, _VETO / len(told)) > MARGIN:
            return f"it is worse than the champion {name}"
    return None


def _least_mean(
    values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], level: float
) -> float:
    """Lower confidence bound on a weighted mean; minus infinity where there are too few values."""
    if len(values) < _LEAST_PAIRS:
        return float("-inf")
    shares = weights / weights.sum()
    mean = float(shares @ values)
    variance = float(shares**2 @ (values - mean) ** 2)
    return mean - float(norm.isf(level)) * variance**0.5
