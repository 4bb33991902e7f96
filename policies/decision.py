"""Who answers a request, and why.

Rules come first: what no student can do, or may do, goes to the teacher. Then the policy says with
which probability the student answers, and a draw settles it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from policies.policy import Options, Policy
from policies.scores import RouteScore


@dataclass(slots=True)
class Decision:
    """The route taken, and the scores behind it."""

    route: Literal["teacher", "student"]
    reason: str
    teacher: RouteScore
    student: RouteScore | None
    """None where no student was asked."""
    threshold: float
    """The least probability of agreement for which the promise was tested."""
    propensity: float
    """Probability that the teacher is asked for its answer, at once or in an audit."""
    policy: str = "bound"
    """Name of the policy in force, whether it was asked or a rule went before it."""


def to_teacher(
    reason: str, policy: str, teacher: RouteScore, student: RouteScore | None, threshold: float
) -> Decision:
    """The decision of a rule."""
    return Decision("teacher", reason, teacher, student, threshold, 1.0, policy)


def decide(policy: Policy, options: Options, audit_rate: float, draw: float) -> Decision:
    """Let the policy choose. ``draw`` is uniform in [0, 1)."""
    chance, reason = policy.choose(options)
    return Decision(
        "student" if draw < chance else "teacher",
        reason,
        options.teacher,
        options.student,
        options.threshold,
        1.0 - chance * (1.0 - audit_rate),
        policy.name,
    )
