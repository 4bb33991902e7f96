"""The threshold that keeps the promise: learn then test.

Each threshold of a sequence fixed beforehand is a null hypothesis, "of the answers given at or
above it, more than ``alpha`` disagree with the teacher", tested on held-out data by the exact
binomial test (Clopper and Pearson 1934). The sequence runs from the strictest threshold to the
laxest. A test that rejects passes its level on to the next (fixed-sequence testing in its fallback
form, Wiens 2003), so all rejections hold together with confidence ``1 - delta`` and the laxest
rejected threshold may be picked freely (learn then test: Angelopoulos, Bates, Candes, Jordan and
Lei 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, binom

STARTS = 4
"""Places in the sequence at which testing may start afresh after a failure."""

_FINEST_STEP = 0.05


@dataclass(frozen=True, slots=True)
class Tested:
    """One threshold and what held-out data say of it."""

    threshold: float
    answered: int
    """Held-out requests that would be answered at this threshold."""
    wrong: int
    """How many of those answers disagree with the teacher's."""
    upper: float
    """Upper confidence bound on the share that disagrees, at the level of this test."""
    passed: bool


def upper_bound(wrong: int, answered: int, delta: float) -> float:
    """Clopper-Pearson upper bound on a proportion, with confidence ``1 - delta``."""
    if wrong >= answered:
        return 1.0
    return float(beta.ppf(1 - delta, wrong + 1, answered - wrong))


def least_answers(alpha: float, delta: float) -> int:
    """The fewest answers, all of them right, that meet the bound."""
    return int(np.ceil(np.log(delta) / np.log1p(-alpha)))


def attempt_delta(delta: float, attempt: int) -> float:
    """The part of the error budget that the ``attempt``-th gate test of a task may spend.

    The parts of all attempts (1, 2, …) add up to ``delta``, however many there are: the promise
    is for the task, over every student it will ever have.
    """
    return delta / (attempt * (attempt + 1))


def threshold_sequence(
    confidences: npt.NDArray[np.float64], held_out: int, alpha: float, delta: float
) -> list[float]:
    """Thresholds from strict to lax, equally spaced in the share of requests they would answer.

    ``confidences`` must not come from the held-out data that the thresholds are tested on. The
    first threshold is the strictest that ``held_out`` requests can be enough to pass.
    """
    if not len(confidences) or not held_out:
        return []
    first = least_answers(alpha, delta / STARTS) / held_out
    if first > 1:
        return []
    steps = int(np.ceil((1 - first) / _FINEST_STEP)) + 1
    shares = np.linspace(first, 1, steps)
    thresholds = np.quantile(confidences, 1 - shares, method="lower")
    return sorted({float(threshold) for threshold in thresholds}, reverse=True)


def walk(
    thresholds: Sequence[float],
    answered: Sequence[int],
    wrong: Sequence[int],
    alpha: float,
    delta: float,
) -> list[Tested]:
    """Test each threshold in order; ``answered`` and ``wrong`` have one entry for each."""
    tested = []
    carried = 0.0
    for index, threshold in enumerate(thresholds):
        level = carried + _own_level(index, len(thresholds), delta)
        passed = level > 0 and bool(binom.cdf(wrong[index], answered[index], alpha) <= level)
        upper = upper_bound(wrong[index], answered[index], level) if level else 1.0
        tested.append(Tested(threshold, answered[index], wrong[index], upper, passed))
        carried = level if passed else 0.0
    return tested


def _own_level(index: int, length: int, delta: float) -> float:
    """``delta`` shared equally among the starts, which are spread evenly over the sequence."""
    starts = {round(start * length / STARTS) for start in range(STARTS)}
    return delta / len(starts) if index in starts else 0.0
