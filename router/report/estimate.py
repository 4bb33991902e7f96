"""What the teacher would have cost for students' answers, by what it did cost for audited ones.

A student's answer books what it is predicted to cost from the teacher: its prompt's tokens are
counted, and the tokens of the teacher's answer are foretold. For a random part of them the teacher
is asked too, and its real cost is known. The ratio of both corrects the prediction for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from scipy.special import stdtrit

from telemetry.exchange import PICO
from telemetry.figures import Sum


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure in USD and where it lies with some confidence."""

    usd: float
    low: float
    high: float


def student_teacher_cost(found: Sum, level: float) -> Estimate | None:
    """What the teacher would have cost for all that students answered, with confidence ``level``;
    None with fewer than two audits of known cost.

    The ratio estimator, its variance linearised, with the correction for a finite population:
    Cochran, "Sampling Techniques" (1977), sections 6.3 and 6.4.
    """
    pairs, predicted = found.pairs, found.pair_teacher_cost / PICO
    if pairs < 2 or not predicted:
        return None
    ratio = found.pair_audit_cost / PICO / predicted
    squares = (
        found.real_squared
        - 2 * ratio * found.predicted_times_real
        + ratio**2 * found.predicted_squared
    )
    unknown = max(0.0, 1 - pairs / found.by_student) if found.by_student else 0.0
    variance = unknown * pairs / (pairs - 1) * max(0.0, squares)
    every = found.student_teacher_cost / PICO
    spread = float(stdtrit(pairs - 1, 0.5 + level / 2)) * every / predicted * sqrt(variance)
    usd = ratio * every
    return Estimate(usd, max(0.0, usd - spread), usd + spread)


def saved(found: Sum, level: float) -> Estimate | None:
    """What was saved against the teacher alone, corrected by audits; None as above."""
    students = student_teacher_cost(found, level)
    if students is None:
        return None
    rest = (found.saved - found.student_teacher_cost) / PICO
    return Estimate(rest + students.usd, rest + students.low, rest + students.high)
