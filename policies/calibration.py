"""The threshold that keeps the promise: learn, then test.

Each threshold of a sequence fixed beforehand is a null hypothesis, "of the answers given at or
above it, more than ``alpha`` disagree with the teacher's", tested on held-out data by the exact
binomial test (Clopper and Pearson 1934). The sequence runs from strict to lax; a test that passes
hands its level on to the next (fixed-sequence testing in its fallback form: Wiens 2003), so all
that passed hold together with confidence ``1 - delta`` and the laxest of them may be used (learn
then test: Angelopoulos, Bates, Candes, Jordan and Lei 2021). The sequence, and where in it testing
starts, is laid out on training data alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, binom

_STEP = 0.04
"""Share of requests between one threshold and the next."""

_STARTS = ((1.0, 0.7), (1.8, 0.3))
"""Where testing starts, in multiples of the fewest answers that can pass, and with which part of
the error budget."""

_HOPE = 2.0
"""A test is made where training data foretell a p-value of at most this many times its level:
cross-validated students know less than the one to be tested."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What each rung of a ladder makes of n requests whose teacher answers are known."""

    confidences: npt.NDArray[np.float64]
    """[n, rungs], cheapest rung first."""
    agreed: npt.NDArray[np.bool_]
    """[n, rungs]: whether the rung's answer is the teacher's."""

    def __len__(self) -> int:
        return len(self.confidences)

    def tally(self, threshold: float) -> Tally:
        """Who would answer at ``threshold``: the first rung whose confidence reaches it."""
        confident = self.confidences >= threshold
        answered = confident.any(axis=1)
        rung = confident.argmax(axis=1)[answered]
        right = self.agreed[answered, rung].sum()
        return Tally(int(answered.sum()), int(answered.sum() - right))


@dataclass(frozen=True, slots=True)
class Tally:
    """Answers that a student gives, and how many of them disagree with the teacher's."""

    answered: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Thresholds from strict to lax, and the part of the error budget that starts at each."""

    thresholds: tuple[float, ...]
    levels: tuple[float, ...]
    share: float
    """Share of requests that is foretold to be answered within the bound."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One threshold and what held-out data say of it."""

    threshold: float
    answered: int
    wrong: int
    upper: float
    """Upper confidence bound on the share of answers that disagree, at the level of the test."""
    passed: bool


def upper_bound(tally: Tally, delta: float) -> float:
    """Clopper-Pearson upper bound on the share of wrong answers, with confidence ``1 - delta``."""
    if tally.wrong >= tally.answered:
        return 1.0
    return float(beta.ppf(1 - delta, tally.wrong + 1, tally.answered - tally.wrong))


def least_answers(alpha: float, delta: float) -> int:
    """The fewest answers, all of them right, that meet the bound."""
    return int(np.ceil(np.log(delta) / np.log1p(-alpha)))


def attempt_delta(delta: float, attempt: int) -> float:
    """The part of the error budget that the ``attempt``-th gate test of a task may spend.

    The parts of all attempts (1, 2, …) add up to ``delta``, however many there are: the promise
    is for the task, over every student it will ever have.
    """
    return delta / (attempt * (attempt + 1))


def plan(training: Outcomes, held_out: int, alpha: float, delta: float) -> Plan | None:
    """Lay out a test on ``held_out`` requests; None where it is foretold to fail.

    ``training`` holds cross-validated outcomes on training data. The thresholds are equally spaced
    in the share of requests answered. Testing starts at the strictest that can pass and, with a
    smaller part of ``delta``, at one with more answers: fewer are surer to be right, more allow for
    an error among them.
    """
    least = least_answers(alpha, delta * _STARTS[0][1])
    if held_out < least:
        return None
    # Held-out answers above a threshold will be more or fewer than on training data: one standard
    # deviation more, so that a start is seldom wasted on one answer too few.
    first = (least + np.sqrt(least * (1 - least / held_out))) / held_out
    shares = np.linspace(first, 1, int(np.ceil((1 - first) / _STEP)) + 1)
    surest = training.confidences.max(axis=1)
    thresholds = np.quantile(surest, 1 - shares, method="lower").tolist()
    levels = dict.fromkeys(thresholds, 0.0)
    for start, part in _STARTS:
        index = min(int(np.searchsorted(shares, start * first)), len(shares) - 1)
        levels[thresholds[index]] += delta * part
    scale = held_out / len(training)
    tallies = [training.tally(threshold) for threshold in levels]
    hopeful = [
        tally.answered for tally in tallies if _foretell(tally, scale, alpha) <= _HOPE * delta
    ]
    if not hopeful:
        return None
    return Plan(tuple(levels), tuple(levels.values()), max(hopeful) / len(training))


def _foretell(tally: Tally, scale: float, alpha: float) -> float:
    """The p-value to expect of a test on ``scale`` times as many requests."""
    answered, wrong = round(tally.answered * scale), round(tally.wrong * scale)
    return float(binom.cdf(wrong, answered, alpha))


def walk(planned: Plan, held_out: Outcomes, alpha: float) -> list[Tested]:
    """Test the thresholds of a plan in order.

    One passes where its upper bound, at the level that is its own and what the threshold before it
    hands on, is at most ``alpha``.
    """
    tested: list[Tested] = []
    handed_on = 0.0
    for threshold, own in zip(planned.thresholds, planned.levels, strict=True):
        level = own + handed_on
        tally = held_out.tally(threshold)
        upper = upper_bound(tally, level) if level else 1.0
        tested.append(Tested(threshold, tally.answered, tally.wrong, upper, upper <= alpha))
        handed_on = level if tested[-1].passed else 0.0
    return tested
