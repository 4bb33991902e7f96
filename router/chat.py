"""``POST /v1/chat/completions``: decide, answer, write down.

A plain ASGI application: what it adds to the upstream's answer is on every request's path.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import aclosing
from dataclasses import dataclass, replace

from starlette.types import Receive, Scope, Send

from config.settings import PolicySettings
from policies.decision import breaks_limits, decide, needs_teacher
from policies.scores import Scores
from router import completion
from router.audit import Auditor
from router.errors import (
    ProtegeError,
    StoreUnavailableError,
    StudentNotFoundError,
    StudentUnableError,
    UnexpectedError,
    UpstreamError,
    UpstreamRefusedError,
    render,
)
from router.ledger import Ledger
from router.models import Model, Models, Target
from router.relay import Relay
from router.reply import Reply
from router.request import ChatRequest, parse
from router.serving import Student, Students
from router.turn import Arrival, Opinion, Turn
from router.upstreams.answer import read_completion
from telemetry.metrics import Metrics

_log = logging.getLogger(__name__)


class CallerGoneError(Exception):
    """The caller hung up before its request was complete."""


@dataclass(frozen=True, slots=True)
class Chat:
    """The chat completions endpoint."""

    models: Models
    policy: PolicySettings
    students: Students
    scores: Scores
    ledger: Ledger
    auditor: Auditor
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrival = Arrival(_authorization(scope))
        reply = Reply(send, arrival.id)
        with self.metrics.in_flight.track_inprogress():
            try:
                await self._handle(arrival, receive, reply)
            except CallerGoneError:
                _log.debug("request %s was never complete", arrival.id)
            except ProtegeError as error:
                await self._refuse(error, reply)
            except Exception:
                _log.exception("request %s failed", arrival.id)
                await self._refuse(UnexpectedError("The router failed."), reply)

    async def _handle(self, arrival: Arrival, receive: Receive, reply: Reply) -> None:
        request = parse(await _read(receive))
        target = self.models.find(request.model)
        turn = await self._decide(arrival, request, target)
        if turn.route == "student":
            await self._answer(turn, reply)
            return
        model = target if isinstance(target, Model) else self.models.teacher
        try:
            await self._ask(turn, model, receive, reply)
        except UpstreamError as error:
            if turn.may_fall_back and _is_down(error):
                turn.route, turn.reason = "student", "teacher_down"
                await self._answer(turn, reply)
                return
            await self.ledger.record_failure(turn, model, render(error).status)
            await reply.error(error, turn.headers(model.upstream.model, 0))

    async def _refuse(self, error: ProtegeError, reply: Reply) -> None:
        self.metrics.rejected(render(error).status)
        await reply.error(error)

    # Deciding

    async def _decide(self, arrival: Arrival, request: ChatRequest, target: Target) -> Turn:
        """Choose the route. Raises StudentNotFoundError or StudentUnableError."""
        if isinstance(target, Model):
            return Turn(arrival, request, "model", "forced", sampled=False)
        student = self.students.of(request.prompt.task)
        # Drawn before the route and whatever it will be, or the sample would depend on the policy.
        sampled = student is None or random.random() < self.policy.audit_rate
        if target == "teacher":
            return Turn(arrival, request, "teacher", "forced", sampled)
        rule = needs_teacher(request.body)
        opinion = None
        if student is not None and rule is None:
            opinion = await self._opinion(student, request)
            rule = _broken_limit(request, opinion) if opinion else "student_error"
        if target == "student":
            if opinion is None:
                raise _no_opinion(request, student, rule)
            return Turn(arrival, request, "student", "forced", sampled, opinion)
        decision = decide(
            rule,
            student.threshold if student else 1.0,
            self.scores.teacher(request.prompt.task, len(request.raw), self.models.teacher.price),
            self.scores.student(opinion.prediction.confidence) if opinion else None,
            self.policy.audit_rate,
        )
        may_fall_back = opinion is not None and rule is None
        return Turn(
            arrival, request, decision.route, decision.reason, sampled, opinion, may_fall_back
        )

    async def _opinion(self, student: Student, request: ChatRequest) -> Opinion | None:
        """What the student would answer; None if it fails, which must not fail the request."""
        text = request.prompt.text
        try:
            prediction = await student.predict(text)
            return Opinion(student, prediction, student.usage(text, prediction.answer))
        except Exception:
            _log.exception("student %s failed", student.version)
            return None

    # Answering

    async def _answer(self, turn: Turn, reply: Reply) -> None:
        """Let the student answer."""
        opinion = turn.opinion
        assert opinion is not None, "the student route is taken only with an opinion"
        if turn.request.stream:
            turn.first_token_s = turn.arrival.elapsed_s()
        exchange = self.ledger.from_student(turn, opinion)
        stored = self.ledger.record_soon(exchange)
        answer = completion.StudentAnswer(
            id=exchange.id,
            created=int(exchange.created),
            version=exchange.model,
            prediction=opinion.prediction,
            usage=opinion.usage,
            top_logprobs=turn.request.top_logprobs,
        )
        headers = turn.headers(exchange.model, exchange.cost)
        if turn.request.stream:
            await reply.start_stream(headers)
            await reply.end(completion.events(answer, include_usage=turn.request.include_usage))
        else:
            await reply.json(200, completion.completion(answer), headers)
        if turn.sampled:
            self.auditor.start(turn, opinion, stored)

    async def _ask(self, turn: Turn, model: Model, receive: Receive, reply: Reply) -> None:
        """Let an upstream answer. Raises UpstreamError while nothing has been sent."""
        upstream = model.upstream
        body = turn.request.for_upstream(upstream.model, stream=turn.request.stream)
        if turn.request.stream:
            events = upstream.stream(body, turn.arrival.authorization)
            include_usage = turn.request.include_usage
            async with aclosing(Relay(events, upstream.timeout_s, include_usage)) as relay:
                await relay.open()
                await self._relay(turn, model, relay, receive, reply)
            return
        content = await upstream.complete(body, turn.arrival.authorization)
        exchange = self.ledger.from_upstream(turn, model, read_completion(content))
        await self.ledger.record(exchange)
        await reply.json(200, content, turn.headers(exchange.model, exchange.cost))

    async def _relay(
        self, turn: Turn, model: Model, relay: Relay, receive: Receive, reply: Reply
    ) -> None:
        """Pass a stream on that has begun. What goes wrong from here on is an event in it."""
        turn.first_token_s = turn.arrival.elapsed_s()
        # The cost is known only at the end: the header says what is expected.
        expected = self.scores.teacher(turn.task, len(turn.request.raw), model.price).cost
        await reply.start_stream(turn.headers(model.upstream.model, expected))
        hung_up = asyncio.create_task(_hung_up(receive))
        failure: ProtegeError | None = None
        try:
            async for event in relay:
                if hung_up.done():
                    break
                await reply.events(event)
        except UpstreamError as error:
            failure = error
        finally:
            hung_up.cancel()
        answer = relay.answer()
        if failure is not None:
            answer = replace(answer, finish_reason=None)
        try:
            await self.ledger.record(self.ledger.from_upstream(turn, model, answer))
        except StoreUnavailableError as error:
            failure = error
        if failure is not None:
            await reply.end(completion.event(render(failure).content))
        else:
            await reply.end(b"".join(relay.ending))


def _broken_limit(request: ChatRequest, opinion: Opinion) -> str | None:
    tokens = opinion.usage.completion_tokens
    return breaks_limits(request.body, opinion.prediction.answer, tokens)


def _no_opinion(request: ChatRequest, student: Student | None, rule: str | None) -> ProtegeError:
    """Why a forced student does not answer."""
    if student is None:
        return StudentNotFoundError(f"The task '{request.prompt.task}' has no student.", "model")
    return StudentUnableError(f"The student cannot answer this request: {rule}.", "model")


def _is_down(error: UpstreamError) -> bool:
    """Whether the teacher is to blame, not the request."""
    if isinstance(error, UpstreamRefusedError):
        return error.status == 429 or error.status >= 500
    return True


def _authorization(scope: Scope) -> str | None:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    for name, value in headers:
        if name == b"authorization":
            return value.decode("latin-1")
    return None


async def _read(receive: Receive) -> bytes:
    """The whole body. Raises CallerGoneError."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGoneError
        part: bytes = message.get("body", b"")
        body += part
        if not message.get("more_body"):
            return body


async def _hung_up(receive: Receive) -> None:
    """Return when the caller has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
