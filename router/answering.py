"""Answers a request on the route that was chosen, and writes the exchange down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import orjson
from starlette.types import Receive

from policies.formats import fits
from policies.scores import Scores
from router import completion
from router.chain import Answered, ask_in_time, is_down
from router.errors import (
    ProtegeError,
    StoppingError,
    StoreUnavailableError,
    UpstreamBrokenError,
    UpstreamError,
    UpstreamTimeoutError,
)
from router.http.hangup import CallerGoneError, WhileCallerWaits
from router.ledger import Ledger
from router.models import Model
from router.relay import Relay, drop_logprobs
from router.reply import Reply
from router.spending.paying import Paying
from router.students.audit import Auditor
from router.students.repeats import Repeats
from router.students.rollout import Rollouts
from router.students.tryouts import Tryouts
from router.turn import Opinion, Turn
from router.upstreams.answer import Answer, read_completion

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Whole:
    """A completion, and what was read of it."""

    content: bytes
    answer: Answer


@dataclass(frozen=True, slots=True)
class _Opened:
    """A stream whose first token is there, and until when it may last on the loop's clock."""

    relay: Relay
    ends: float


@dataclass(frozen=True, slots=True)
class Answering:
    """Lets the student or upstreams answer."""

    scores: Scores
    ledger: Ledger
    auditor: Auditor
    rollouts: Rollouts
    tryouts: Tryouts
    repeats: Repeats
    paying: Paying
    teacher_logprobs: int | None
    """Alternatives per token that the teacher is asked for, for the log."""

    async def answer(
        self, turn: Turn, models: Sequence[Model], receive: Receive, reply: Reply
    ) -> None:
        """``models`` are asked in turn unless the student answers."""
        try:
            await self._answer(turn, models, receive, reply)
        finally:
            await self.paying.give_back(turn)

    async def _answer(
        self, turn: Turn, models: Sequence[Model], receive: Receive, reply: Reply
    ) -> None:
        opinion = turn.opinion
        asked = models
        try:
            if turn.route == "student":
                assert opinion is not None, "the student route is taken only with an opinion"
                if opinion.hosted is None:
                    await self._by_student(turn, opinion, reply)
                    return
                asked = (opinion.hosted,)
                if await self._by_hosted(turn, opinion.hosted, receive, reply):
                    return
                asked = models
            try:
                await self._ask(turn, models, receive, reply)
            except UpstreamError as error:
                if opinion is None or not (turn.may_fall_back and is_down(error)):
                    raise
                turn.route, turn.reason = "student", _why_student(error)
                if opinion.hosted is None:
                    await self._by_student(turn, opinion, reply)
                    return
                asked = (opinion.hosted,)
                await self._ask(turn, asked, receive, reply)
        except UpstreamError as error:
            await self._fail(turn, asked[0], error, reply)
        except CallerGoneError:
            await self.ledger.record_hangup(turn, asked[0])

    async def _fail(self, turn: Turn, model: Model, error: ProtegeError, reply: Reply) -> None:
        """Say that nobody answers, the last of whom would have been ``model``."""
        await self.ledger.record_failure(turn, model, error)
        await reply.error(error, turn.headers(model.upstream.model, turn.opinion_cost, 0))

    async def _ask(
        self, turn: Turn, models: Sequence[Model], receive: Receive, reply: Reply
    ) -> None:
        by_upstream = self._streamed if turn.request.stream else self._whole
        await by_upstream(turn, models, receive, reply)

    async def _by_hosted(self, turn: Turn, model: Model, receive: Receive, reply: Reply) -> bool:
        """Let a hosted model answer; False where the teacher is to answer instead, since it failed.
        Where the teacher cannot be paid the caller is told so.

        Raises UpstreamError where the caller wants no other, or CallerGoneError.
        """
        try:
            await self._ask(turn, (model,), receive, reply)
        except UpstreamError as error:
            if turn.decision is None:
                raise
            try:
                await self.paying.fall_back(turn, turn.decision)
            except ProtegeError as refusal:
                await self._fail(turn, model, refusal, reply)
                return True
            _log.info("%s failed, and the teacher answers instead: %s", model.upstream.model, error)
            turn.route, turn.reason = "teacher", "hosted_down"
            # It has had its chance; and while it fails, the teacher is asked for certain.
            turn.may_fall_back = False
            turn.decision = replace(
                turn.decision, route="teacher", reason="hosted_down", propensity=1.0
            )
            return False
        return True

    async def _by_student(self, turn: Turn, opinion: Opinion, reply: Reply) -> None:
        request = turn.request
        if request.stream:
            turn.first_token_s = turn.arrival.elapsed_s()
        exchange = self.ledger.from_student(turn, opinion)
        stored = await self.ledger.record_soon(exchange, turn)
        answer = completion.StudentAnswer(
            id=completion.identifier(exchange.id),
            created=int(exchange.created),
            version=exchange.model,
            prediction=opinion.prediction,
            usage=opinion.usage,
            top_logprobs=request.top_logprobs,
        )
        headers = turn.headers(exchange.model, exchange.cost, exchange.teacher_cost)
        if request.stream:
            await reply.start_stream(headers)
            await reply.end(completion.events(answer, include_usage=request.include_usage))
        else:
            await reply.completion(completion.completion(answer), headers)
        if turn.sampled:
            self.auditor.start(turn, opinion, stored, exchange.teacher_cost)
        else:
            self.rollouts.beside(turn, None)

    async def _whole(
        self, turn: Turn, models: Sequence[Model], receive: Receive, reply: Reply
    ) -> None:
        """Raises UpstreamError or CallerGoneError; nothing has been sent then."""
        logprobs = self._logprobs(turn)

        async def call(model: Model) -> _Whole:
            turn.attempts += 1
            upstream = model.upstream
            unasked = logprobs if upstream.gives_logprobs else None
            body = turn.request.for_upstream(upstream.model, stream=False, logprobs=unasked)
            with self.scores.calling(upstream.model):
                content = await upstream.complete(body, turn.arrival.authorization)
            return _Whole(content, read_completion(content))

        async with WhileCallerWaits(receive):
            with turn.waiting():
                answered = await ask_in_time(models, call, turn.arrival, turn.deadline_s)
        answer = answered.value.answer
        if turn.route == "student":
            _check_format(turn, answered.model, answer)
        exchange = self.ledger.from_upstream(turn, answered.model, answer)
        await self.ledger.record(exchange, turn)
        content = answered.value.content
        if logprobs is not None:
            content = _without_logprobs(content)
        headers = turn.headers(exchange.model, exchange.cost, exchange.teacher_cost)
        await reply.completion(content, headers)
        self._compare(turn, answered.model, answer, exchange.teacher_cost)

    async def _streamed(
        self, turn: Turn, models: Sequence[Model], receive: Receive, reply: Reply
    ) -> None:
        """Raises UpstreamError or CallerGoneError while nothing has been sent."""
        logprobs = self._logprobs(turn)
        request = turn.request

        async def call(model: Model) -> _Opened:
            turn.attempts += 1
            upstream = model.upstream
            ends = asyncio.get_running_loop().time() + upstream.timeouts.whole
            unasked = logprobs if upstream.gives_logprobs else None
            body = request.for_upstream(upstream.model, stream=True, logprobs=unasked)
            relay = Relay(
                upstream.stream(body, turn.arrival.authorization),
                upstream.timeouts.silence,
                include_usage=request.include_usage,
                hide_logprobs=logprobs is not None,
            )
            try:
                with self.scores.calling(upstream.model):
                    await relay.open()
            except BaseException:
                await relay.aclose()
                raise
            return _Opened(relay, ends)

        async with WhileCallerWaits(receive):
            with turn.waiting():
                answered = await ask_in_time(models, call, turn.arrival, turn.deadline_s)
        async with aclosing(answered.value.relay):
            with self.scores.calling(answered.model.upstream.model):
                await self._relay(turn, answered, receive, reply)

    async def _relay(
        self, turn: Turn, answered: Answered[_Opened], receive: Receive, reply: Reply
    ) -> None:
        """Pass a stream on that has begun. What goes wrong from here on is an event in it."""
        model, relay = answered.model, answered.value.relay
        turn.first_token_s = turn.arrival.elapsed_s()
        await reply.start_stream(self._expected_headers(turn, model))
        failure: ProtegeError | CallerGoneError | None = None
        try:
            async with asyncio.timeout_at(answered.value.ends), WhileCallerWaits(receive):
                with turn.waiting():
                    async for event in relay:
                        await reply.event(event)
        except TimeoutError:
            whole_s = model.upstream.timeouts.whole
            failure = UpstreamTimeoutError(f"The answer was not complete within {whole_s:g} s.")
        except (UpstreamError, CallerGoneError) as error:
            failure = error
        except asyncio.CancelledError:
            failure = StoppingError("The server stops, and the answer is not complete.")
        answer = relay.answer()
        if failure is not None:
            answer = replace(answer, finish_reason=None)
        exchange = self.ledger.from_upstream(turn, model, answer, failure)
        try:
            await self.ledger.record(exchange, turn)
        except StoreUnavailableError as error:
            failure = error
            # The caller has it.
            self.ledger.metrics.lost(turn.route)
        if failure is None:
            await reply.end(relay.ending)
            self._compare(turn, model, answer, exchange.teacher_cost)
        elif not isinstance(failure, CallerGoneError):
            await reply.break_off(failure)

    def _compare(self, turn: Turn, model: Model, answer: Answer, predicted: int) -> None:
        """Begin what an upstream's answer is the occasion for: the audit of a hosted model's, for
        which the teacher is ``predicted`` to take so many picodollars, or the questions to others
        that go with the teacher's."""
        opinion = turn.opinion
        if turn.route == "teacher":
            self.tryouts.start(turn, answer)
            finished = _finished(answer)
            self.rollouts.beside(turn, finished)
            if finished is not None:
                usage = self.ledger.usage(turn, model, answer)
                self.repeats.start(turn, finished, model.price.cost(usage))
        elif turn.route == "student" and opinion is not None and turn.sampled:
            said = replace(opinion.prediction, answer=answer.text or "")
            stored = asyncio.get_running_loop().create_future()
            stored.set_result(None)
            cost = model.price.cost(answer.usage or opinion.usage)
            opinion = replace(opinion, prediction=said, cost=cost)
            self.auditor.start(turn, opinion, stored, predicted)
        else:
            self.rollouts.beside(turn, None)

    def _logprobs(self, turn: Turn) -> int | None:
        """Alternatives to ask for that the caller does not want to see."""
        unasked = turn.route == "teacher" and turn.request.top_logprobs is None
        return self.teacher_logprobs if unasked else None

    def _expected_headers(self, turn: Turn, model: Model) -> dict[str, str]:
        """What a stream costs is known only at its end: its headers say what is expected."""
        usage = self.scores.usage(turn.request.ask, model.upstream.model)
        teacher_cost = self.ledger.teacher.price.cost(usage)
        return turn.headers(model.upstream.model, model.price.cost(usage), teacher_cost)


def _finished(answer: Answer) -> str | None:
    """What the teacher said, if it has said all of it."""
    return answer.text if answer.finish_reason == "stop" else None


def _check_format(turn: Turn, model: Model, answer: Answer) -> None:
    """Raises UpstreamBrokenError where a hosted model's answer has not the format that is required;
    it is paid for all the same."""
    assert turn.opinion is not None, "the student route is taken only with an opinion"
    if not fits(answer.text or "", turn.request.body.get("response_format")):
        cost = turn.opinion.cost + model.price.cost(answer.usage or turn.opinion.usage)
        turn.opinion = replace(turn.opinion, cost=cost)
        raise UpstreamBrokenError("The answer has not the required format.")


def _why_student(error: UpstreamError) -> str:
    return "deadline" if error.param == "x-protege-deadline" else "teacher_down"


def _without_logprobs(content: bytes) -> bytes:
    body = orjson.loads(content)
    return orjson.dumps(body) if drop_logprobs(body) else content
