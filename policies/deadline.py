"""An answer in time: the student stands in for a teacher that might be late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from policies.policy import Choice, Options
from policies.threshold import Bound

_LATE = Choice(1.0, "deadline")
_BOUND = Bound()


@dataclass(frozen=True, slots=True)
class Deadline:
    """``bound``, but for requests that one teacher's answer in twenty would be too late for. Of
    those the promise says nothing."""

    seconds: float
    """From a request's arrival, for requests that do not say themselves."""
    name: ClassVar[str] = "deadline"

    def choose(self, options: Options) -> Choice:
        seconds = self.seconds if options.deadline_s is None else options.deadline_s
        if options.teacher.latency_p95_s > seconds:
            return _LATE
        return _BOUND.choose(options)
