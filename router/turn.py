"""One chat request on its way through the router."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from distill.students.base import Prediction
from router.request import ChatRequest
from router.serving import Student
from telemetry.exchange import PICO, Route
from telemetry.prices import Usage


def _ids() -> Iterator[str]:
    """Identifiers that cannot be guessed. Random bytes are fetched for many at once: each call
    gives the interpreter's lock away, and to get it back takes milliseconds under load."""
    while True:
        digits = os.urandom(16 * 256).hex()
        for start in range(0, len(digits), 32):
            yield f"req_{digits[start : start + 32]}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request before anything is known of it."""

    authorization: str | None
    """The caller's header."""
    id: str = field(default_factory=_ids().__next__)
    created: float = field(default_factory=time.time)
    started: float = field(default_factory=time.perf_counter)

    def elapsed_s(self) -> float:
        return time.perf_counter() - self.started


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the student of the task would answer."""

    student: Student
    prediction: Prediction
    usage: Usage


@dataclass(slots=True)
class Turn:
    """A request and how it is being answered."""

    arrival: Arrival
    request: ChatRequest
    route: Route
    reason: str
    sampled: bool
    opinion: Opinion | None = None
    """None where no student was asked."""
    may_fall_back: bool = False
    """Whether the opinion may stand in for a teacher that is down."""
    first_token_s: float | None = None

    @property
    def task(self) -> str:
        return self.request.prompt.task

    def headers(self, model: str, cost: int) -> dict[str, str]:
        """The headers that say how the answer was made and what it cost in picodollars."""
        return {
            "x-protege-route": self.route,
            "x-protege-task": self.task,
            "x-protege-model": model,
            "x-protege-reason": self.reason,
            "x-protege-cost": usd(cost),
        }


def usd(picodollars: int) -> str:
    """An exact decimal number.

    >>> usd(1_500_000)
    '0.0000015'
    """
    whole, fraction = divmod(picodollars, PICO)
    return f"{whole}.{fraction:012d}".rstrip("0").rstrip(".")
