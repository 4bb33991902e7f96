"""The threshold that keeps the promise: learn, then test, on evidence that cross-validation gives.

Every teacher answer is a request whose outcome is known: what a student that was trained without it
would have said, how sure it would have been, and whether that agrees. Each threshold of a sequence
is a null hypothesis, "of the answers given at or above it, more than ``alpha`` disagree with the
teacher's". The sequence runs from strict to lax; a test that passes hands its level on to the next
(fixed-sequence testing in its fallback form: Wiens 2003), so all that passed hold together with
confidence ``1 - delta`` and the laxest of them may be used (learn then test: Angelopoulos, Bates,
Candes, Jordan and Lei 2021). The sequence depends on confidences alone, never on what agreed.

Once a student serves, requests that it is unsure of reach the teacher more often than others, so
each outcome is weighted by how many requests it stands for: the inverse of the probability that the
teacher was asked (Horvitz and Thompson 1952). Where that is known for the time of each request
alone, the weights are smoothed among requests of a like confidence (Beaumont 2008). The test is the
exact one for weighted counts (Fay and Feuer 1997), which for equal weights is Garwood's (1936) for
a Poisson count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincc, gammainccinv, gammaincinv

_STEP = 0.02
"""Share of requests between one threshold and the next."""

_FOR_STRICTER = 0.02
"""Part of the error budget for thresholds that are stricter than the likeliest to pass: they are
used only where something speaks against that one."""

_CAUTION = 0.5
"""By how many standard deviations more answers may be wrong than confidences foretell, for a test
to be made: with a half, some two tests in three pass, where every second one would spend its part
of the budget in vain with none."""

_BINS = 20
"""Bins of like confidence, with as many outcomes each, among which weights are smoothed."""

_PATIENCE = 3
"""The greater, the more evenly the error budget is spread over the first gate tests of a task."""


Threshold = float | npt.NDArray[np.float64]
"""One for all of n requests, or [n] of their own."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What each rung of a ladder makes of n requests whose teacher answers are known."""

    confidences: npt.NDArray[np.float64]
    """[n, rungs], cheapest rung first."""
    agreed: npt.NDArray[np.bool_]
    """[n, rungs]: whether the rung's answer is the teacher's."""
    weights: npt.NDArray[np.float64]
    """[n], positive: how many requests of the task each stands for."""
    even: bool = False
    """Whether requests that are alike have the same weight, so that there is nothing to smooth."""

    def __len__(self) -> int:
        return len(self.confidences)

    @property
    def surest(self) -> npt.NDArray[np.float64]:
        """[n]: the confidence of the surest rung."""
        highest: npt.NDArray[np.float64] = self.confidences.max(axis=1)
        return highest

    def smoothed(self) -> Outcomes:
        """The same with every weight replaced by the mean of its bin of like confidence.

        Unbiased as far as in a bin those who were asked of the teacher err as often as those who
        were not. Where they differ, a former student that was sure has left out requests that are
        easier than the rest of their bin: errors are overstated.
        """
        if self.even:
            return self
        inner = np.linspace(0, 1, _BINS + 1)[1:-1]
        edges = np.unique(np.quantile(self.surest, inner)) if len(self) else np.zeros(0)
        bins = np.searchsorted(edges, self.surest, side="right")
        counts = np.bincount(bins, minlength=_BINS)
        sums = np.bincount(bins, self.weights, minlength=_BINS)
        return replace(self, weights=(sums / np.maximum(counts, 1))[bins], even=True)

    def part(self, rows: npt.NDArray[np.bool_]) -> Outcomes:
        """Those of some requests alone."""
        return replace(
            self,
            confidences=self.confidences[rows],
            agreed=self.agreed[rows],
            weights=self.weights[rows],
        )

    def given(self, threshold: Threshold) -> Given:
        """The answers at ``threshold``: the first rung whose confidence reaches it gives one."""
        confident = self.confidences >= np.reshape(threshold, (-1, 1))
        answered: npt.NDArray[np.bool_] = np.logical_or.reduce(confident, axis=1)
        rungs = confident.argmax(axis=1)
        wrong: npt.NDArray[np.bool_] = answered & ~self.agreed[np.arange(len(self)), rungs]
        return Given(answered, rungs, wrong, self.weights)

    def tally(self, threshold: float) -> Tally:
        """What the answers at ``threshold`` come to."""
        return self.given(threshold).tally()

    def foretold(self, threshold: float) -> Tally:
        """What they would come to if confidences are right: probabilities that answers agree."""
        given = self.given(threshold)
        wrong = 1 - self.confidences[np.arange(len(self)), given.rungs]
        wrong, weights = wrong[given.answered], self.weights[given.answered]
        return Tally(
            len(weights),
            round(float(wrong.sum())),
            float(weights.sum()),
            float(wrong @ weights),
            float(wrong @ weights**2),
            float(weights.max(initial=0.0)),
        )


@dataclass(frozen=True, slots=True)
class Given:
    """Which of n requests are answered at one threshold, and how."""

    answered: npt.NDArray[np.bool_]
    rungs: npt.NDArray[np.int64]
    """[n]: the rung that answers; where none does it says nothing."""
    wrong: npt.NDArray[np.bool_]
    """[n]: answered, and not as the teacher does."""
    weights: npt.NDArray[np.float64]

    def without(self, rows: npt.NDArray[np.bool_]) -> Given:
        """The same where these requests are left to the teacher."""
        return replace(self, answered=self.answered & ~rows, wrong=self.wrong & ~rows)

    def tally(self, rows: npt.NDArray[np.bool_] | None = None) -> Tally:
        """What the answers to these requests come to; to all, where none are named."""
        answered = self.answered if rows is None else self.answered & rows
        wrong = self.wrong if rows is None else self.wrong & rows
        weights, wrong_weights = self.weights[answered], self.weights[wrong]
        return Tally(
            len(weights),
            len(wrong_weights),
            float(weights.sum()),
            float(wrong_weights.sum()),
            float((wrong_weights**2).sum()),
            float(weights.max(initial=0.0)),
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """Answers that a student gives, and how many of them disagree with the teacher's."""

    answered: int
    wrong: int
    weight: float
    """Sum of the weights of all answers,"""
    wrong_weight: float
    """of those that disagree,"""
    wrong_square: float
    """and of the squares of the latter."""
    heaviest: float
    """The greatest weight of an answer."""

    def unlucky(self) -> Tally:
        """The same with more answers wrong, by ``_CAUTION`` of Poisson's deviations."""
        more = _CAUTION * math.sqrt(self.wrong_square)
        return replace(self, wrong_weight=self.wrong_weight + more)

    @classmethod
    def plain(cls, answered: int, wrong: int) -> Tally:
        """A tally of requests that stand for themselves alone."""
        return cls(answered, wrong, answered, wrong, wrong, min(answered, 1))


@dataclass(frozen=True, slots=True)
class Tested:
    """One threshold and what the evidence says of it."""

    threshold: float
    tally: Tally
    share: float
    """Share of the task's requests at or above the threshold."""
    upper: float
    """Upper confidence bound on the share of answers that disagree, at the level of the test."""
    passed: bool


def upper_bound(tally: Tally, delta: float) -> float:
    """Fay and Feuer's upper bound on the share of wrong answers, with confidence ``1 - delta``."""
    if tally.weight == 0:
        return 1.0
    mean = tally.wrong_weight + tally.heaviest
    variance = tally.wrong_square + tally.heaviest**2
    sum_ = gammainccinv(mean**2 / variance, delta) * variance / mean
    return min(1.0, float(sum_) / tally.weight)


def lower_bound(tally: Tally, delta: float) -> float:
    """Fay and Feuer's lower bound on the share of wrong answers, with confidence ``1 - delta``."""
    if tally.wrong_weight == 0:
        return 0.0
    mean, variance = tally.wrong_weight, tally.wrong_square
    sum_ = gammaincinv(mean**2 / variance, delta) * variance / mean
    return float(sum_) / tally.weight


def least_answers(alpha: float, delta: float) -> float:
    """The fewest answers of equal weight, all of them right, that meet the bound."""
    return float(-np.log(delta) / alpha)


def attempt_delta(delta: float, attempt: int) -> float:
    """The part of the error budget that the ``attempt``-th gate test of a task may spend.

    The parts of all attempts (1, 2, …) add up to ``delta``, however many there are: the promise
    is for the task, over every student it will ever have.
    """
    return delta * _PATIENCE / ((attempt + _PATIENCE - 1) * (attempt + _PATIENCE))


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a test is expected to come to."""

    stricter: tuple[float, ...]
    """Thresholds from strict to lax, up to"""
    laxer: tuple[float, ...]
    """those from the one on that is the likeliest to pass."""
    share: float
    """Share of the task's requests at or above the laxest that is expected to."""


def prospect(outcomes: Outcomes, alpha: float, delta: float) -> Prospect | None:
    """What a test at level ``delta`` is expected to come to; None where it could easily fail."""
    evidence = outcomes.smoothed()
    level = (1 - _FOR_STRICTER) * delta
    thresholds = _thresholds(evidence, least_answers(alpha, level))
    tallies = [evidence.foretold(threshold) for threshold in thresholds]
    cautious = [level_of(tally.unlucky(), alpha) for tally in tallies]
    if not cautious or min(cautious) > level:
        return None
    first = last = cautious.index(min(cautious))
    while last + 1 < len(tallies) and level_of(tallies[last + 1], alpha) <= level:
        last += 1
    share = tallies[last].weight / float(evidence.weights.sum())
    return Prospect(tuple(thresholds[:first]), tuple(thresholds[first:]), share)


def level_of(tally: Tally, alpha: float) -> float:
    """The least level at which ``upper_bound`` is no more than ``alpha``."""
    mean = tally.wrong_weight + tally.heaviest
    if mean == 0:
        return 1.0
    variance = tally.wrong_square + tally.heaviest**2
    return float(gammaincc(mean**2 / variance, alpha * tally.weight * mean / variance))


def walk(outcomes: Outcomes, expected: Prospect, alpha: float, delta: float) -> list[Tested]:
    """The thresholds that are tested, from strict to lax.

    One passes where its upper bound, at its level, is at most ``alpha``; so do all between it and
    where testing began. All levels together are ``delta``.
    """
    laxer = _until_one_fails(outcomes, expected.laxer, alpha, (1 - _FOR_STRICTER) * delta)
    if not laxer[0].passed:
        return laxer
    stricter = _until_one_fails(outcomes, expected.stricter[::-1], alpha, _FOR_STRICTER * delta)
    return [*stricter[::-1], *laxer]


def _until_one_fails(
    outcomes: Outcomes, thresholds: Sequence[float], alpha: float, level: float
) -> list[Tested]:
    evidence = outcomes.smoothed()
    total = float(evidence.weights.sum())
    tested: list[Tested] = []
    for threshold in thresholds:
        tally = evidence.tally(threshold)
        upper = upper_bound(tally, level)
        tested.append(Tested(threshold, tally, tally.weight / total, upper, upper <= alpha))
        if not tested[-1].passed:
            break
    return tested


def _thresholds(evidence: Outcomes, least: float) -> list[float]:
    """Thresholds from the strictest that can pass on, equally spaced in the share of requests."""
    order = np.argsort(-evidence.surest, kind="stable")
    weights = evidence.weights[order]
    enough = np.cumsum(weights) >= least * np.maximum.accumulate(weights)
    if not enough.any():
        return []
    shares = np.cumsum(weights) / weights.sum()
    first = shares[enough.argmax()]
    wanted = np.linspace(first, 1, int(np.ceil((1 - first) / _STEP)) + 1)
    places = np.minimum(np.searchsorted(shares, wanted), len(order) - 1)
    found = evidence.surest[order][places].tolist()
    return list(dict.fromkeys(found))
