"""The route of the greater expected utility."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from policies.policy import Choice, Options
from policies.scores import RouteScore
from telemetry.exchange import PICO

_STUDENT = Choice(1.0, "utility")
_TEACHER = Choice(0.0, "utility")


@dataclass(frozen=True, slots=True)
class Utility:
    """Utility is linear: what the answer is worth if it is the teacher's, less what it costs and
    what the wait for it costs. Where both routes have the same, the student answers."""

    quality: float
    """Worth of an answer that is the teacher's,"""
    usd: float
    """of a USD,"""
    second: float
    """and of a second, all in the same unit."""
    name: ClassVar[str] = "utility"

    def choose(self, options: Options) -> Choice:
        return _STUDENT if self._of(options.student) >= self._of(options.teacher) else _TEACHER

    def _of(self, route: RouteScore) -> float:
        cost = self.usd * route.cost / PICO + self.second * route.latency_s
        return self.quality * route.agreement - cost
