"""The student answers where it is sure enough; else the teacher does.

The student's opinion comes from its ladder, cheapest rung first (a cascade as in Chen, Zaharia and
Zou 2023, "FrugalGPT"); what differs is who says how sure is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from policies.policy import Choice, Options

_CONFIDENT = Choice(1.0, "student_confident")
_UNSURE = Choice(0.0, "student_unsure")
_ABOVE = Choice(1.0, "cascade")
_BELOW = Choice(0.0, "cascade")


@dataclass(frozen=True, slots=True)
class Bound:
    """The threshold is the one that the gate found for the promise."""

    name: ClassVar[str] = "bound"

    def choose(self, options: Options) -> Choice:
        return _CONFIDENT if options.promised else _UNSURE


@dataclass(frozen=True, slots=True)
class Cascade:
    """The operator sets the threshold. It promises nothing."""

    threshold: float
    """Least probability that the student's answer is the teacher's."""
    name: ClassVar[str] = "cascade"

    def choose(self, options: Options) -> Choice:
        return _ABOVE if options.student.agreement >= self.threshold else _BELOW
