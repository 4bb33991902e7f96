"""Scores both routes for a request: what it would cost, how long it would take, how good it would
be. What cannot be known beforehand is expected from what like requests took lately.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from policies.latency import LatencyModel
from policies.tokens import TokenModel, Tokens
from telemetry.exchange import Route
from telemetry.prices import Price, Usage
from telemetry.tolls import Toll

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


# Not frozen, as others that each request makes are not: that would take five times as long.
@dataclass(slots=True)
class RouteScore:
    """What one route is expected to give."""

    cost: int
    """Picodollars, on average."""
    latency_s: float
    """From the request's arrival to the end of the answer; as likely more as less."""
    agreement: float
    """Probability that the answer is the teacher's: 1 less the difficulty of the request."""
    cost_p95: int = 0
    """What one call in twenty would exceed."""
    latency_p95_s: float = 0.0
    first_token_s: float = 0.0
    """To the first that the caller sees of the answer: its end, where it is not streamed."""
    first_token_p95_s: float = 0.0
    load: int = 0
    """Answers that the route's model had under way, or waiting, when this was foretold."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What of a request counts for the scores."""

    task: str
    characters: int
    """Of the whole request, instruction included."""
    stream: bool = False
    limit: int | None = None
    """Most tokens that the caller wants."""
    choices: int = 1
    """Answers to the one prompt that the caller wants."""


class _Known(Generic[_Key, _Value]):
    """What is known of each key, the last ``capacity`` of them."""

    def __init__(self, new: Callable[[], _Value], capacity: int) -> None:
        self._new = new
        self._capacity = capacity
        self._values: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key) -> _Value | None:
        return self._values.get(key)

    def learn(self, key: _Key) -> _Value:
        """To be told of something new."""
        value = self._values.get(key)
        if value is None:
            value = self._values[key] = self._new()
            if len(self._values) > self._capacity:
                self._values.popitem(last=False)
        else:
            self._values.move_to_end(key)
        return value


_ENOUGH = 100
"""Answers of a task and model that are all learnt from."""

_LEARNT_PER_S = 100.0
"""So many more are learnt from in a second: what they tell is the same, and to learn from one takes
a tenth of the time that it takes to answer a request."""


class Scores:
    """Learns from every answer of the last ``capacity`` tasks and models."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._tokens: _Known[tuple[str, str], TokenModel] = _Known(TokenModel, capacity)
        self._usual_tokens: _Known[str, TokenModel] = _Known(TokenModel, capacity)
        self._latency: _Known[str, LatencyModel] = _Known(LatencyModel, capacity)
        self._students = LatencyModel()
        self._under_way: Counter[str] = Counter()
        self._last_at = 0.0

    # What is to be expected

    def usage(self, ask: Ask, model: str, answer: str | None = None) -> Usage:
        """The tokens of a call; of one that gave ``answer`` if that is all that is known of it."""
        return self._expect_tokens(ask, model, answer).expected

    def teacher(self, ask: Ask, model: str, price: Price, wait_s: float = 0.0) -> RouteScore:
        """``model`` is the one that will be asked first, which lets nobody through for so many
        seconds."""
        tokens = self._expect_tokens(ask, model, None)
        latency = self._latency.get(model) or LatencyModel()
        load = self._under_way[model]
        # Several answers are written at once.
        end = latency.end(tokens.expected.completion_tokens // ask.choices, load)
        first = latency.first_token(tokens.expected.prompt_tokens, load) if ask.stream else None
        return RouteScore(
            cost=price.cost(tokens.expected),
            latency_s=wait_s + end.p50,
            agreement=1.0,
            cost_p95=price.cost(tokens.most),
            latency_p95_s=wait_s + end.p95,
            first_token_s=wait_s + min(end.p50, first.p50 if first else end.p50),
            first_token_p95_s=wait_s + min(end.p95, first.p95 if first else end.p95),
            load=load,
        )

    def student(self, version: str, confidence: float, cost: int, waiting: int) -> RouteScore:
        """``cost`` is what its computing cost; so many others were ``waiting`` for it."""
        end = (self._latency.get(version) or self._students).end(0, waiting)
        return RouteScore(
            cost=cost,
            latency_s=end.p50,
            agreement=confidence,
            cost_p95=cost,
            latency_p95_s=end.p95,
            first_token_s=end.p50,
            first_token_p95_s=end.p95,
            load=waiting,
        )

    def _expect_tokens(self, ask: Ask, model: str, answer: str | None) -> Tokens:
        known = self._tokens.get((ask.task, model)) or self._usual_tokens.get(model)
        return (known or TokenModel()).expect(ask.characters, answer, ask.limit, ask.choices)

    # What is known

    @contextmanager
    def calling(self, model: str) -> Iterator[None]:
        """While an answer of ``model`` is under way."""
        self._under_way[model] += 1
        try:
            yield
        finally:
            self._under_way[model] -= 1
            if not self._under_way[model]:
                # Callers may make up names without end.
                del self._under_way[model]

    def wants(self, task: str, route: Route, model: str, now: float, draw: float) -> bool:
        """Whether to learn from an answer that came ``now``, in seconds of any clock. Where there
        are many, a random part of them will do: ``draw`` is uniform on [0, 1)."""
        gap, self._last_at = now - self._last_at, now
        if draw < gap * _LEARNT_PER_S:
            return True
        student = route == "student"
        known = self._latency.get(model) if student else self._tokens.get((task, model))
        return known is None or known.seen < _ENOUGH

    def learn(self, toll: Toll) -> None:
        if toll.route == "student":
            if toll.load is not None:
                for student in (self._latency.learn(toll.model), self._students):
                    student.saw_end(toll.latency_s, 0, toll.load)
            return
        if toll.load is not None:
            self._learn_latency(toll, toll.load)
        for tokens in (
            self._tokens.learn((toll.task, toll.model)),
            self._usual_tokens.learn(toll.model),
        ):
            tokens.add(toll.characters, toll.usage)

    def remember(self, tolls: Iterable[Toll]) -> None:
        """Know what is to be learnt from ``tolls``, oldest first, and nothing else.

        May be called in a thread: it takes effect at once when all is learnt.
        """
        past = Scores(self._capacity)
        for toll in tolls:
            past.learn(toll)
        self._tokens, self._usual_tokens = past._tokens, past._usual_tokens
        self._latency, self._students = past._latency, past._students

    def _learn_latency(self, toll: Toll, load: int) -> None:
        # The tokens as they were foretold: those that came are not known beforehand next time.
        foretold = self.usage(Ask(toll.task, toll.characters), toll.model)
        latency = self._latency.learn(toll.model)
        latency.saw_end(toll.latency_s, foretold.completion_tokens, load)
        if toll.first_token_s is not None:
            latency.saw_first_token(toll.first_token_s, foretold.prompt_tokens, load)
