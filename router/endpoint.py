"""An endpoint that generates text: reads a request in its dialect and has it answered.

A plain ASGI application: what it adds to the upstream's answer is on every request's path.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from router.answering import Answering
from router.dialects.base import Dialect
from router.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ProtegeError,
    StoppingError,
    UnexpectedError,
)
from router.http.azure import with_model
from router.http.hangup import CallerGoneError
from router.keys.access import check_access
from router.keys.limits import Limits
from router.ledger import code_of
from router.load import Load
from router.models import Model, Models
from router.reply import Reply
from router.request import parse
from router.routing import Routing
from router.several import SeveralRequestsError, answer_each
from router.students.named import check_task, with_task
from router.terms import read_terms
from router.turn import Arrival
from telemetry.logs import requests
from telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

DRAINED = 10
"""So many times the largest body is read of one that is too large, or the caller, who is still
sending, would find its connection reset and not see why."""

SILENCE_S = 60.0
"""How long the next part of a body is waited for. A caller that has lost its network says nothing,
and has a place among the requests under way. A body as a whole may take as long, and a second more
for every `SLOWEST` bytes that have come of it: a byte a minute would keep the place for good."""

SLOWEST = 1000
"""Bytes a second: a body that comes more slowly is given up. A telephone's worst line is faster."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What all endpoints that generate text share."""

    models: Models
    routing: Routing
    answering: Answering
    limits: Limits
    load: Load
    metrics: Metrics
    largest_body: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One dialect before the engine."""

    dialect: Dialect
    engine: Engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrival = Arrival.of(scope)
        reply = Reply(send, arrival, self.dialect)
        try:
            with self.engine.load:
                await self._handle(scope, arrival, receive, reply)
        except SeveralRequestsError as several:
            await answer_each(self, several, scope, receive, send)
        except asyncio.CancelledError:
            # A server that stops does so, once it has waited for long enough.
            await self._refuse(arrival, StoppingError("The server stops."), reply)
        except CallerGoneError:
            _log.debug("request %s was never complete", arrival.id)
        except ProtegeError as error:
            await self._refuse(arrival, error, reply)
        except Exception:
            _log.exception("request %s failed", arrival.id)
            await self._refuse(arrival, UnexpectedError("The router failed."), reply)

    async def _handle(self, scope: Scope, arrival: Arrival, receive: Receive, reply: Reply) -> None:
        engine = self.engine
        terms = read_terms(scope["headers"])
        raw = with_model(await read_body(receive, engine.largest_body), scope)
        body = await self.dialect.read(raw, arrival.key_id)
        student = engine.routing.students.named(body.get("model"))
        terms = with_task(terms, student)
        request = parse(body, raw, terms, self.dialect.name)
        check_access(arrival.key, request.model, request.prompt.task)
        check_task(student, request.prompt.task)
        target = student or engine.models.find(request.model)
        reply.begin(request, await engine.limits.admit(arrival.key))
        turn = await engine.routing.choose(arrival, request, target)
        models = (target,) if isinstance(target, Model) else engine.models.chain
        await engine.answering.answer(turn, models, receive, reply)

    async def _refuse(self, arrival: Arrival, error: ProtegeError, reply: Reply) -> None:
        status, code = self.dialect.error(error).status, code_of(error)
        self.engine.metrics.rejected(status, code)
        requests.rejected(arrival.id, status, code)
        if reply.streaming:
            await reply.break_off(error)
        else:
            await reply.error(error)


async def read_body(receive: Receive, largest: int) -> bytes:
    """The whole body. Raises CallerGoneError, BodyTimeoutError or BodyTooLargeError."""
    parts: list[bytes] = []
    size = 0
    now = asyncio.get_running_loop().time
    started = now()
    while True:
        # What is only drained, because it is too large, buys no more time.
        earned_s = min(size, largest) / SLOWEST
        try:
            async with asyncio.timeout_at(min(now(), started + earned_s) + SILENCE_S):
                message = await receive()
        except TimeoutError as error:
            raise BodyTimeoutError("The body of the request came too slowly.") from error
        if message["type"] == "http.disconnect":
            raise CallerGoneError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size <= largest:
            parts.append(part)
        if not message.get("more_body") or size > DRAINED * largest:
            break
    if size > largest:
        raise BodyTooLargeError(f"The body of the request is larger than {largest:,} bytes.")
    return parts[0] if len(parts) == 1 else b"".join(parts)
