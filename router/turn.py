"""One chat request on its way through the router."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.types import Scope

from distill.students.base import Prediction
from policies.decision import Decision
from router.models import Model
from router.request import ChatRequest
from router.students.serving import Student
from telemetry.exchange import PICO, Route
from telemetry.keys import Key
from telemetry.prices import Usage

if TYPE_CHECKING:
    from router.spending.budgets import Account


def _ids() -> Iterator[str]:
    """Identifiers that cannot be guessed, and that grow with time, so that the store's index of
    them grows at its end alone: 48 bits of milliseconds, as in UUIDv7 (RFC 9562), and 80 random
    ones. These are fetched for many at once: each call gives the interpreter's lock away, and to
    get it back takes milliseconds under load."""
    while True:
        digits = os.urandom(10 * 256).hex()
        for start in range(0, len(digits), 20):
            milliseconds = time.time_ns() // 1_000_000
            yield f"req_{milliseconds:012x}{digits[start : start + 20]}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request before anything is known of it."""

    authorization: str | None
    """The caller's header, where it is meant for the upstream."""
    key: Key | None = None
    """The caller's virtual key."""
    trace: str | None = None
    """The ``traceparent`` (W3C Trace Context) that the caller sent."""
    id: str = field(default_factory=_ids().__next__)
    created: float = field(default_factory=time.time)
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, scope: Scope) -> Arrival:
        """The arrival of an HTTP request."""
        key: Key | None = scope.get("key")
        authorization = trace = None
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        for name, value in headers:
            # With a key of ours it is a secret of ours, and no upstream's business.
            if name == b"authorization" and key is None:
                authorization = value.decode("latin-1")
            elif name == b"traceparent":
                trace = value.decode("latin-1")
        return cls(authorization, key, trace)

    @property
    def key_id(self) -> str | None:
        return None if self.key is None else self.key.id

    def elapsed_s(self) -> float:
        return time.perf_counter() - self.started


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the student of the task would answer."""

    student: Student
    prediction: Prediction
    usage: Usage
    cost: int
    """Picodollars: what its computing cost."""
    waiting: int
    """Questions that the student had before this one."""
    took_s: float
    """Seconds until it had said so."""
    stratum: str | None = None
    """The slice that the request is in, where each must keep the promise on its own."""
    hosted: Model | None = None
    """Who is to be asked for the answer, where the prediction has none."""


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
    attempts: int = 0
    """Calls made to upstreams."""
    upstream_s: float = 0.0
    """Seconds that these were waited for, and that a stream took to be passed on."""
    patience_s: float | None = None
    """Seconds that the policy would wait for the teacher, from the request's arrival."""
    decision: Decision | None = None
    """None where the caller chose the route."""
    account: Account | None = None
    """The budget that pays for what the policy decides, if any."""
    audited: bool = False
    """Whether an audit has begun, which gives back what is held for it."""

    @property
    def task(self) -> str:
        return self.request.prompt.task

    @property
    def opinion_cost(self) -> int:
        """Picodollars that the student has taken, and an answer that it cannot give."""
        return self.opinion.cost if self.opinion else 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time within as an upstream's."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.upstream_s += time.perf_counter() - started

    @property
    def deadline_s(self) -> float | None:
        """Seconds to wait for the teacher, from the request's arrival: the caller's if it says."""
        said = self.request.terms.deadline_s
        return self.patience_s if said is None else said

    def headers(self, model: str, cost: int, teacher_cost: int) -> dict[str, str]:
        """The headers that say how the answer was made, what it cost in picodollars, and what
        that saved against the teacher."""
        return {
            "x-protege-route": self.route,
            "x-protege-task": self.task,
            "x-protege-model": model,
            "x-protege-reason": self.reason,
            "x-protege-cost": usd(cost),
            "x-protege-saved": usd(teacher_cost - cost),
        }


def usd(picodollars: int) -> str:
    """An exact decimal number.

    >>> usd(1_500_000), usd(-2 * 10**12)
    ('0.0000015', '-2')
    """
    whole, fraction = divmod(abs(picodollars), PICO)
    sign = "-" if picodollars < 0 else ""
    return sign + f"{whole}.{fraction:012d}".rstrip("0").rstrip(".")
