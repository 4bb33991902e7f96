"""What a policy is: it sees what both routes of a request are expected to give, and says with
which probability the student is to answer.

A policy is asked only where a student can answer: rules go first, and a student is there only if
it has passed its gate.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from policies.scores import RouteScore


class Options(NamedTuple):
    """A request, as a policy sees it."""

    teacher: RouteScore
    student: RouteScore
    threshold: float
    """The least probability of agreement for which the promise was tested."""
    deadline_s: float | None = None
    """Seconds from its arrival in which the caller wants an answer; None where it does not say."""

    @property
    def promised(self) -> bool:
        """Whether the student's answer is one of those that the promise is for."""
        return self.student.agreement >= self.threshold


class Choice(NamedTuple):
    """What a policy says of a request."""

    student: float
    """Probability with which the student is to answer."""
    reason: str


class Policy(Protocol):
    """Pure: the same options give the same choice, until it has been told something new."""

    @property
    def name(self) -> str: ...

    def choose(self, options: Options) -> Choice: ...
