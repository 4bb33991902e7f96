"""Writes down every exchange: to the store first, then to the metrics and the scores.

What the teacher said is stored before the caller has all of it; what a student said may follow.
One place for what an answer cost, so that store, metrics and headers cannot disagree.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from policies.scores import Scores
from router.checks import is_name
from router.completion import choices, identifier
from router.errors import SHAPES, ProtegeError, Shape, StoreUnavailableError, render
from router.keys.limits import Limits
from router.load import Load
from router.models import Model
from router.request import ChatRequest
from router.spending.budgets import Budgets
from router.turn import Arrival, Opinion, Turn
from router.upstreams.answer import Answer
from telemetry.exchange import CALLER_GONE, Exchange, Route
from telemetry.logs import requests
from telemetry.metrics import Metrics
from telemetry.prices import Usage
from telemetry.store import Audit, Repeat
from telemetry.tolls import Toll
from telemetry.tryouts import Tryout
from telemetry.writer import Writer

if TYPE_CHECKING:
    from telemetry.traces import Traces

CALLER_GONE_STATUS = 499
"""nginx's status for a request whose caller hung up."""

_log = logging.getLogger(__name__)


class Waited(Protocol):
    """What is to be known of a turn, beside its exchange."""

    arrival: Arrival
    upstream_s: float
    """Seconds that upstreams were waited for."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where exchanges are written down. ``teacher`` prices what the teacher would have cost."""

    writer: Writer
    metrics: Metrics
    scores: Scores
    teacher: Model
    limits: Limits
    budgets: Budgets
    traces: Traces | None
    load: Load

    def from_upstream(
        self, turn: Turn, model: Model, answer: Answer, failure: Exception | None = None
    ) -> Exchange:
        """The exchange in which ``model``, the teacher or another, gave ``answer``, as far as it
        came before the ``failure``."""
        usage = self.usage(turn, model, answer)
        text = answer.text if turn.request.store else None
        exchange = self._exchange(
            turn,
            model.upstream.model,
            200,
            # A hosted model's answer is its student's; another student's is known beforehand.
            student_answer=text if turn.route == "student" else _said(turn),
            answer=text,
            teacher_answer=text if turn.route == "teacher" else None,
            choices=answer.choices if turn.request.store else None,
            completion_id=answer.id if is_name(answer.id) else None,
            finish_reason=answer.finish_reason,
            error=None if failure is None else code_of(failure),
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cost=model.price.cost(usage) + turn.opinion_cost,
            teacher_cost=self.teacher.price.cost(usage),
        )
        if failure is None and answer.finish_reason is not None:
            self.learn(
                turn, turn.route, exchange.model, usage, exchange.latency_s, turn.first_token_s
            )
        return exchange

    def from_student(self, turn: Turn, opinion: Opinion) -> Exchange:
        """The exchange in which the student gave its ``opinion`` as the answer."""
        usage = opinion.usage
        exchange = self._exchange(
            turn,
            opinion.student.version,
            200,
            student_answer=_said(turn),
            answer=opinion.prediction.answer if turn.request.store else None,
            choices=_choices(turn.request, opinion),
            completion_id=identifier(turn.arrival.id),
            finish_reason="stop",
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cost=opinion.cost,
            teacher_cost=self.teacher.price.cost(usage),
        )
        self.learn(turn, turn.route, exchange.model, usage, exchange.latency_s, turn.first_token_s)
        return exchange

    def usage(self, turn: Turn, model: Model, answer: Answer) -> Usage:
        """The tokens of an answer of ``model``; what is to be expected where nobody counted."""
        return answer.usage or self.scores.usage(
            turn.request.ask, model.upstream.model, answer.written or ""
        )

    async def record(self, exchange: Exchange, turn: Waited) -> None:
        """Return once the exchange of a turn is stored. Raises StoreUnavailableError if it cannot
        be."""
        started = time.perf_counter()
        stored = self.writer.write(exchange, alone=self.load.inside <= 1)
        await self._spend(exchange)
        try:
            await stored
        except Exception as error:
            _log.error("exchange %s could not be stored: %s", exchange.id, error)
            raise StoreUnavailableError("The answer could not be stored.") from error
        # The caller has waited for the store too.
        whole_s = exchange.latency_s + time.perf_counter() - started
        self._measure(exchange, whole_s, turn)

    async def record_soon(self, exchange: Exchange, turn: Waited) -> asyncio.Future[None]:
        """Store the exchange within milliseconds, while its caller goes on.

        The future fails if it cannot be stored; the loss is logged and counted.
        """
        stored = self.writer.write(exchange)
        stored.add_done_callback(partial(self._settle, exchange, turn))
        await self._spend(exchange)
        return stored

    async def record_failure(self, turn: Turn, model: Model, failure: ProtegeError) -> None:
        """Write down that nobody answered, and what that has cost. No answer is lost if that fails,
        so it is only logged."""
        await self._record_nothing(turn, model, render(failure).status, code_of(failure))

    async def record_hangup(self, turn: Turn, model: Model) -> None:
        """Write down that the caller hung up before there was an answer."""
        await self._record_nothing(turn, model, CALLER_GONE_STATUS, CALLER_GONE)

    async def _record_nothing(self, turn: Turn, model: Model, status: int, error: str) -> None:
        try:
            exchange = self._exchange(
                turn,
                model.upstream.model,
                status,
                student_answer=_said(turn),
                error=error,
                cost=turn.opinion_cost,
            )
            await self.record(exchange, turn)
        except StoreUnavailableError:
            _log.error("the failed request %s is not in the store", turn.arrival.id)

    async def record_audit(self, turn: Turn, audit: Audit, predicted: int) -> None:
        """Return once the audit is stored; raise what the database raised if it cannot be. For the
        same answer the teacher was ``predicted`` to take so many picodollars."""
        stored = self.writer.write(audit)
        await self._limit(turn, audit.audit_cost)
        await self.budgets.spend_audit(turn, audit.audit_cost)
        await stored
        self.metrics.audit(
            turn.task, agreed=audit.agreed, cost=audit.audit_cost, predicted=predicted
        )

    async def record_tryout(self, turn: Turn, tryout: Tryout) -> None:
        """Return once the tryout is stored; raise what the database raised if it cannot be."""
        stored = self.writer.write(tryout)
        cost = tryout.cost if tryout.extra else 0
        if cost:
            await self._limit(turn, cost)
            await self.budgets.spend_tryout(turn, cost)
        await stored
        self.metrics.tryout(turn.task, tryout.model, agreed=tryout.agreed, cost=cost)

    async def record_repeat(self, turn: Turn, repeat: Repeat) -> None:
        """As `record_audit`, for answers that the teacher was asked for again."""
        stored = self.writer.write(repeat)
        await self._limit(turn, repeat.audit_cost)
        await self.budgets.spend_audit(turn, repeat.audit_cost)
        await stored
        self.metrics.repeat(turn.task, repeat.audit_cost)

    def learn(
        self,
        turn: Turn,
        route: Route,
        model: str,
        usage: Usage,
        latency_s: float,
        first_token_s: float | None,
    ) -> None:
        """Let the scorers see what ``model`` took for a complete answer on ``route``."""
        # Of several at once it is not known what each took.
        if turn.request.ask.choices > 1:
            return
        if not self.scores.wants(turn.task, route, model, time.monotonic(), random.random()):
            return
        decision = turn.decision
        score = None
        if decision is not None:
            score = decision.student if route == "student" else decision.teacher
        # A hosted model takes what any model of a provider takes, whatever it is asked for.
        hosted = turn.opinion is not None and turn.opinion.hosted is not None
        self.scores.learn(
            Toll(
                task=turn.task,
                route="model" if hosted and route == "student" else route,
                model=model,
                characters=turn.request.ask.characters,
                usage=usage,
                latency_s=latency_s,
                first_token_s=first_token_s,
                load=score.load if score else None,
            )
        )

    async def _spend(self, exchange: Exchange) -> None:
        tokens = exchange.prompt_tokens + exchange.completion_tokens
        await self.limits.spend(exchange.key, tokens, exchange.cost, exchange.created)
        await self.budgets.spend(exchange)

    async def _limit(self, turn: Turn, cost: int) -> None:
        """Let the key's limits know what was spent in picodollars beside a request's answer."""
        await self.limits.spend(turn.arrival.key_id, 0, cost, turn.arrival.created)

    def _measure(self, exchange: Exchange, whole_s: float, turn: Waited) -> None:
        self.metrics.exchange(exchange, whole_s - turn.upstream_s, turn.upstream_s)
        requests.exchange(exchange)
        if self.traces is not None:
            self.traces.exchange(exchange, turn.arrival.trace, turn.upstream_s)

    def _settle(self, exchange: Exchange, turn: Waited, stored: asyncio.Future[None]) -> None:
        failure = stored.exception()
        if failure is None:
            self._measure(exchange, exchange.latency_s, turn)
        else:
            _log.error("exchange %s could not be stored and is lost: %s", exchange.id, failure)
            self.metrics.lost(exchange.route)

    def _exchange(self, turn: Turn, model: str, status: int, **answered: Any) -> Exchange:
        """The exchange of a turn; ``answered`` are the fields that tell what came of it."""
        arrival, opinion, request = turn.arrival, turn.opinion, turn.request
        decision = turn.decision
        return Exchange(
            id=arrival.id,
            created=arrival.created,
            task=turn.task,
            route=turn.route,
            model=model,
            reason=turn.reason,
            status=status,
            stream=request.stream,
            sampled=turn.sampled,
            confidence=opinion.prediction.confidence if opinion else None,
            student=opinion.student.version if opinion else None,
            propensity=decision.propensity if decision else None,
            stratum=opinion.stratum if opinion else None,
            decision=orjson.dumps(decision).decode() if decision else None,
            dialect=request.dialect,
            request=request.text if request.store else None,
            original=request.original.decode() if request.original and request.store else None,
            metadata=request.metadata,
            attempts=turn.attempts,
            key=arrival.key_id,
            latency_s=arrival.elapsed_s(),
            first_token_s=turn.first_token_s,
            **answered,
        )


def _said(turn: Turn) -> str | None:
    """What the student said, where that was known when the route was chosen and may be kept."""
    opinion = turn.opinion
    if opinion is None or opinion.hosted is not None or not turn.request.store:
        return None
    return opinion.prediction.answer


def _choices(request: ChatRequest, opinion: Opinion) -> str | None:
    """What the student answers, where the caller gets more of it than a text and it may be kept."""
    if request.top_logprobs is None or not request.store:
        return None
    return orjson.dumps(choices(opinion.prediction, request.top_logprobs)).decode()


def code_of(failure: Exception) -> str:
    """The code that names ``failure`` in the store."""
    if not isinstance(failure, ProtegeError):
        return CALLER_GONE
    return _code(SHAPES[type(failure)])


def _code(shape: Shape) -> str:
    return shape.code or shape.type


CODES = frozenset({CALLER_GONE, *map(_code, SHAPES.values())})
"""All that there are."""
