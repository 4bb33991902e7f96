"""What another policy would have cost, how fast it would have been and how often it would have
disagreed with the teacher, on requests of the past.

The students are taken as they were: another policy would have shown the learning loop other teacher
answers, and that is not foretold. Where no student could answer, the teacher does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from policies.estimation import (
    Disagreement,
    Estimate,
    corrected,
    disagreement,
    mean,
    quantile,
    weights,
)
from policies.history import Floats, History
from telemetry.exchange import PICO

_POINTS = 50
"""Thresholds on a frontier."""

_STEP = 0.04
"""Share of a student's requests between one threshold that is tried for a bound and the next."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy comes to."""

    student_share: Estimate
    """Share of the requests that students answer."""
    usd: Estimate
    """Of all requests, audits included."""
    latency_s: Estimate
    """On average,"""
    p95_s: Estimate
    """and that which one request in twenty exceeds."""
    disagreement: Disagreement | None
    """None where students answer nothing."""

    @property
    def quality(self) -> float:
        """Share of all answers that are the teacher's or agree with it."""
        return 1.0 - (self.disagreement.of_all_answers.value if self.disagreement else 0.0)


@dataclass(frozen=True, slots=True)
class Point:
    """One threshold of a frontier."""

    threshold: float | None
    """None for the teacher alone."""
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Frontier:
    """Cost against quality, from the teacher alone to the student wherever it can."""

    points: tuple[Point, ...]
    """From strict to lax; the first has the teacher answer everything."""
    operating: Outcome
    """What really happened."""
    aiq: float
    """Average improvement in quality; see ``average_quality``."""
    random_aiq: float
    """That of a policy which picks at random what the student answers."""


def replay(history: History, chance: Floats, audit_rate: float) -> Outcome:
    """What becomes of ``history`` where the student answers with probability ``chance`` [n].

    ``chance`` is 0 where no student is able. ``history`` has a request at least.
    """
    teacher, student = 1.0 - chance, chance
    known = ~np.isnan(history.teacher_cost)
    teacher_cost = corrected(
        history.teacher_expected, history.teacher_cost, weights(known, history)
    )
    timed = weights(~np.isnan(history.teacher_latency), history)
    teacher_s = corrected(history.teacher_expected_s, history.teacher_latency, timed)
    student_s = _student_s(history)
    usd = mean(
        (teacher, teacher_cost),
        (student * (1.0 - audit_rate), history.student_cost),
        (student * audit_rate, history.student_cost + teacher_cost),
    )
    return Outcome(
        mean((student, np.ones(len(history)))),
        usd.times(len(history) / PICO),
        mean((teacher, teacher_s), (student, student_s)),
        quantile(
            0.95,
            (teacher, timed, history.teacher_latency),
            (student, np.ones(len(history)), student_s),
        ),
        disagreement(history, chance),
    )


def happened(history: History) -> Outcome:
    """What the policies that were in force came to: costs and times as they were."""
    everything = np.ones(len(history))
    usd = mean((everything, history.cost + history.audit_cost))
    return Outcome(
        mean((everything, history.served)),
        usd.times(len(history) / PICO),
        mean((everything, history.latency)),
        quantile(0.95, (everything, everything, history.latency)),
        disagreement(history, history.served),
    )


def random_control(history: History, usd: float, audit_rate: float) -> Floats:
    """[n]: chances of a policy that picks at random what the student answers, and costs ``usd``."""
    dearest = replay(history, np.zeros(len(history)), audit_rate).usd.value
    cheapest = replay(history, history.able, audit_rate).usd.value
    if dearest == cheapest:
        return np.zeros(len(history))
    share = min(max((dearest - usd) / (dearest - cheapest), 0.0), 1.0)
    return history.able * share


def at_threshold(history: History, threshold: float) -> Floats:
    """[n]: 1 where a student is at least so sure of its answer."""
    return history.able * (np.nan_to_num(history.confidence, nan=-1.0) >= threshold)


def within_bound(history: History, alpha: float) -> Floats:
    """[n]: 1 where a student is sure enough to keep the bound ``alpha``, as the history tells.

    Each student has the laxest threshold at which the upper end of its disagreement's interval is
    at most ``alpha``. One half of the requests has the threshold that the other half tells, and the
    other way round, so that none is judged by what it chose itself.
    """
    chance = np.zeros(len(history))
    fold = np.arange(len(history)) % 2
    for student in np.unique(history.student[history.able > 0]):
        own = (history.student == student) & (history.able > 0)
        for half in (0, 1):
            threshold = _laxest(history.part(own & (fold != half)), alpha)
            chosen = own & (fold == half)
            chance[chosen] = history.confidence[chosen] >= threshold
    return chance


def frontier(history: History, audit_rate: float) -> Frontier:
    """Every threshold's cost and quality. ``history`` has a request at least."""
    points = [Point(None, replay(history, np.zeros(len(history)), audit_rate))]
    points += [
        Point(threshold, replay(history, at_threshold(history, threshold), audit_rate))
        for threshold in _thresholds(history, 1.0 / _POINTS)
    ]
    corners = [(point.outcome.usd.value, point.outcome.quality) for point in points]
    return Frontier(
        tuple(points),
        happened(history),
        average_quality(corners),
        average_quality([corners[0], corners[-1]]),
    )


def average_quality(corners: Sequence[tuple[float, float]]) -> float:
    """AIQ as RouterBench defines it (Hu et al. 2024): the mean height, from the least to the
    greatest cost, of the non-decreasing upper hull of (cost, quality)::

        AIQ = 1 / (c_max - c_min) * integral from c_min to c_max of hull(c) dc

    >>> average_quality([(0.0, 0.5), (1.0, 1.0), (0.5, 0.9)])
    0.825
    """
    hull = upper_hull(corners)
    width = hull[-1][0] - hull[0][0]
    if not width:
        return hull[-1][1]
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(hull))
    return float(area / width)


def upper_hull(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners of the least concave function that is nowhere below the points, nor falls."""
    best = max(quality for _, quality in corners)
    hull: list[tuple[float, float]] = []
    for corner in sorted({*corners, (max(cost for cost, _ in corners), best)}):
        while len(hull) > 1 and _rises(hull[-2], hull[-1], corner):
            hull.pop()
        if hull and hull[-1][0] == corner[0]:
            hull.pop()
        hull.append(corner)
    return hull


def _rises(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether ``b`` is on or below the line from ``a`` to ``c``."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])


def _student_s(history: History) -> Floats:
    """[n]: what a student takes; where none answered, what another answer of the same task took, in
    turn. So they vary as they do, which a mean does not."""
    seconds = np.nan_to_num(
        np.where(history.served > 0, history.latency, history.student_expected_s)
    )
    for task in range(len(history.tasks)):
        own = history.task == task
        took = history.latency[own & (history.served > 0)]
        if len(took):
            others = own & (history.served == 0)
            seconds[others] = np.resize(took, others.sum())
    return seconds


def _thresholds(history: History, step: float) -> list[float]:
    """From strict to lax, equally spaced in the share of what students could answer."""
    confidence = history.confidence[history.able > 0]
    if not len(confidence):
        return []
    shares = np.linspace(0.0, 1.0, round(1.0 / step) + 1)[1:]
    found = np.quantile(confidence, 1.0 - shares, method="lower")
    return [float(threshold) for threshold in np.unique(found)[::-1]]


def _laxest(history: History, alpha: float) -> float:
    for threshold in reversed(_thresholds(history, _STEP)):
        found = disagreement(history, at_threshold(history, threshold))
        if found is not None and found.of_student_answers.high <= alpha:
            return threshold
    return np.inf
