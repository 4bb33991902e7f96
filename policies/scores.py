"""Scores both routes for a request: what it would cost, how long it would take, how good it would
be. What cannot be known beforehand is expected from what the task took lately.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from telemetry.prices import Price, Usage

DEFAULT_TOKENS_PER_CHARACTER = 0.25
DEFAULT_COMPLETION_TOKENS = 64.0

_WEIGHT = 0.05
"""Share of the newest value in a mean, once there are enough of them."""

Scored = Literal["teacher", "student"]


@dataclass(frozen=True, slots=True)
class RouteScore:
    """What one route is expected to give."""

    cost: int
    """Picodollars."""
    latency_s: float
    agreement: float
    """Probability that the answer is the teacher's: 1 less the difficulty of the request."""


class RunningMean:
    """A mean that follows what it measures: plain at first, then exponentially decaying."""

    def __init__(self, initial: float) -> None:
        self.value = initial
        self._count = 0

    def add(self, value: float) -> None:
        self._count += 1
        self.value += max(1.0 / self._count, _WEIGHT) * (value - self.value)


@dataclass(slots=True)
class _Tokens:
    """How long the prompts and answers of one task are."""

    per_character: RunningMean = field(
        default_factory=lambda: RunningMean(DEFAULT_TOKENS_PER_CHARACTER)
    )
    completion: RunningMean = field(default_factory=lambda: RunningMean(DEFAULT_COMPLETION_TOKENS))


class Scores:
    """Running means of the last ``capacity`` tasks, and of both routes.

    ``characters`` is the length of the whole request, instruction included.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._tokens: OrderedDict[str, _Tokens] = OrderedDict()
        self._latency = {"teacher": RunningMean(0.0), "student": RunningMean(0.0)}

    def saw_usage(self, task: str, characters: int, usage: Usage) -> None:
        tokens = self._tokens.setdefault(task, _Tokens())
        self._tokens.move_to_end(task)
        if len(self._tokens) > self._capacity:
            self._tokens.popitem(last=False)
        tokens.per_character.add(usage.prompt_tokens / max(characters, 1))
        tokens.completion.add(usage.completion_tokens)

    def saw_latency(self, route: Scored, seconds: float) -> None:
        self._latency[route].add(seconds)

    def expected_usage(self, task: str, characters: int, answer: str | None = None) -> Usage:
        """The tokens of a call; of one that gave ``answer`` if that is all that is known of it."""
        tokens = self._tokens.get(task) or _Tokens()
        per_character = tokens.per_character.value
        completion = tokens.completion.value if answer is None else per_character * len(answer)
        return Usage(round(per_character * characters), round(completion))

    def teacher(self, task: str, characters: int, price: Price) -> RouteScore:
        cost = price.cost(self.expected_usage(task, characters))
        return RouteScore(cost, self._latency["teacher"].value, agreement=1.0)

    def student(self, confidence: float) -> RouteScore:
        # A student's computing is not priced.
        return RouteScore(0, self._latency["student"].value, agreement=confidence)
