"""Estimators of what another policy would have come to, from what is known of past requests.

The student is asked before the route is chosen, so its answer is known of every request, unless it
is a hosted one that did not serve; what is missing, where it served, is the teacher's, and audits
draw at random for which requests that is had. Estimators weight what is known by the inverse of its
probability (Horvitz and Thompson 1952), as it is or normalised (Swaminathan and Joachims 2015), or
correct a prediction by it (doubly robust: Dudik, Langford and Li 2011).

Intervals are for traffic like this: requests count as independent draws from one stream, and the
policy's own draws are part of what varies. So they also hold, with something to spare, for the very
same requests. Means have normal intervals. Shares have Clopper and Pearson's at the effective
sample size (Korn and Graubard 1998), since a handful of audits often shows no disagreement at all;
those of requests whose teacher answer is known for certain and of those where it is known by chance
are found apart and put together (MOVER: Zou and Donner 2008). Quantiles have Woodruff's (1952).
``bench/replay.py`` measures how often they cover.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, nan, sqrt

import numpy as np
from scipy.special import ndtri

from policies.binomial import clopper_pearson
from policies.history import Bools, Floats, History

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval, at confidence ``LEVEL``."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How often students' answers are not the teacher's."""

    of_student_answers: Estimate
    """Of the answers that students give: doubly robust."""
    of_all_answers: Estimate
    ips: float
    """Of students' answers, by inverse propensities alone,"""
    snips: float
    """and by these normalised."""


def mean(*branches: tuple[Floats, Floats]) -> Estimate:
    """The mean of what can become of n requests: each branch has its probability and its value,
    both [n]. At least 0."""
    n = len(branches[0][0])
    value = float(sum(probability @ outcome for probability, outcome in branches)) / n
    square = float(sum(probability @ outcome**2 for probability, outcome in branches)) / n
    spread = _Z * sqrt(max(square - value**2, 0.0) / n)
    return Estimate(value, max(value - spread, 0.0), value + spread)


def weights(known: Bools, history: History) -> Floats:
    """[n]: how many requests each one whose outcome is ``known`` [n] stands for; 0 for the others.

    Inverse propensities, normalised among the requests whose teacher answer is known by chance, and
    among all others: so audits that failed count as missing at random.
    """
    inverse = np.divide(known, history.propensity)
    for stratum in _strata(history):
        total = inverse[stratum].sum()
        if total:
            inverse[stratum] *= stratum.sum() / total
    return inverse


def corrected(expected: Floats, known: Floats, weight: Floats) -> Floats:
    """[n]: what is ``expected`` of each request, corrected by what is ``known`` (NaN where not)."""
    return expected + weight * np.nan_to_num(known - expected)


def disagreement(history: History, chance: Floats) -> Disagreement | None:
    """Of the answers that students give with the probability ``chance`` [n], 0 where none is able;
    None where they give none."""
    share = mean((chance, np.ones(len(chance))))
    asked = history.part(history.able > 0)
    chance = chance[history.able > 0]
    answers = float(chance.sum())
    if not answers:
        return None
    known = ~np.isnan(asked.wrong)
    weight = weights(known, asked)
    outcome = corrected(1.0 - asked.confidence, asked.wrong, weight)
    parts = []
    for stratum in _strata(asked):
        if chance[stratum].any():
            rate = _rate(chance[stratum], outcome[stratum], weight[stratum])
            parts.append((float(chance[stratum].sum()) / answers, rate))
    together = _together(parts)
    inverse = chance * known / asked.propensity
    hits = float(inverse @ np.nan_to_num(asked.wrong))
    return Disagreement(
        together,
        _product(together, share),
        ips=hits / answers,
        snips=hits / float(inverse.sum()) if inverse.any() else nan,
    )


def quantile(level: float, *branches: tuple[Floats, Floats, Floats]) -> Estimate:
    """The ``level`` quantile of what can become of n requests: each branch has its probability, the
    weight of what is known of it (0 where nothing is), and its value, all [n]. NaN where nothing is
    known."""
    probability, weight, value = (np.concatenate(each) for each in zip(*branches, strict=True))
    order = np.argsort(value, kind="stable")
    order = order[probability[order] * weight[order] > 0]
    probability, weight, value = probability[order], weight[order], value[order]
    if not len(value):
        return Estimate(nan, nan, nan)
    total = float(probability @ weight)
    reached = np.cumsum(probability * weight) / total

    def at(share: float) -> float:
        return float(value[min(np.searchsorted(reached, share), len(value) - 1)])

    below = value <= at(level)
    squares = probability * weight**2
    size = _size(level, float(squares @ (below - level) ** 2), float(squares.sum()), total)
    low, high = clopper_pearson(level, size, 1 - LEVEL)
    return Estimate(at(level), at(low), at(high))


_Z = float(ndtri((1 + LEVEL) / 2))


def _strata(history: History) -> tuple[Bools, Bools]:
    """Requests whose teacher answer is known for certain, and those where it is by chance."""
    certain = history.propensity >= 1.0
    return certain, ~certain


def _rate(chance: Floats, outcome: Floats, weight: Floats) -> Estimate:
    """The mean ``outcome``, a share, of the requests of one stratum that are chosen by ``chance``;
    ``weight`` is that of what is known."""
    answers = chance.sum()
    rate = min(max(float(chance @ outcome / answers), 0.0), 1.0)
    squares = float(chance @ weight**2)
    if not squares:
        return Estimate(rate, 0.0, 1.0)
    spread = float(chance @ (outcome - rate) ** 2) * (float(chance @ weight) / answers) ** 2
    size = _size(rate, spread, squares, float(chance @ weight))
    low, high = clopper_pearson(rate, size, 1 - LEVEL)
    return Estimate(rate, low, high)


def _size(rate: float, spread: float, squares: float, total: float) -> float:
    """The number of equally weighted trials that would tell as much of a ``rate``: ``spread`` is
    the sum of squared deviations from it, ``squares`` and ``total`` are those of the weights."""
    # Kish's: what is known is never worth more, though its outcomes may look all the same.
    most = total**2 / squares
    rarest = (1 / most) * (1 - 1 / most) if most > 1 else 0.25
    variance = spread / total**2
    return min(most, max(rate * (1 - rate), rarest) / variance) if variance else most


def _together(parts: list[tuple[float, Estimate]]) -> Estimate:
    """The weighted sum of independent shares."""
    value = sum(weight * rate.value for weight, rate in parts)
    below = sum((weight * (rate.value - rate.low)) ** 2 for weight, rate in parts)
    above = sum((weight * (rate.high - rate.value)) ** 2 for weight, rate in parts)
    return Estimate(value, max(value - below**0.5, 0.0), min(value + above**0.5, 1.0))


def _product(rate: Estimate, share: Estimate) -> Estimate:
    """A share of a share (MOVER as well: Donner and Zou 2012)."""
    value = rate.value * share.value
    below = share.value * (rate.value - rate.low), rate.value * (share.value - share.low)
    above = share.value * (rate.high - rate.value), rate.value * (share.high - share.value)
    low, high = value - hypot(*below), value + hypot(*above)
    return Estimate(value, max(low, 0.0), min(high, 1.0))
