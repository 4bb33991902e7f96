"""``POST /v1/embeddings``: passed on to a configured model, and written down like any exchange.

Embeddings teach nobody: no student is asked, and a model must be configured for them.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from router.api.wire import passed, refused
from router.chain import ask_in_time
from router.checks import A_NAME, Checks, check_given, is_count, is_flag, is_name, is_text, require
from router.endpoint import Engine, read_body
from router.errors import (
    InvalidRequestError,
    ProtegeError,
    StoreUnavailableError,
    TooDearError,
    UnexpectedError,
    UpstreamBrokenError,
    UpstreamError,
    render,
)
from router.http.azure import with_model
from router.http.hangup import CallerGoneError, WhileCallerWaits
from router.keys.access import check_access
from router.ledger import CALLER_GONE_STATUS, Ledger, code_of
from router.models import Model
from router.request import read_object
from router.terms import Terms, read_terms
from router.turn import Arrival, usd
from telemetry.exchange import Exchange
from telemetry.logs import requests
from telemetry.prices import Usage

TASK = "embeddings"
"""The task of requests that name none."""

_BYTES_A_TOKEN = 4
"""About, in English text: for what nobody has counted."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """A request that has been checked."""

    raw: bytes
    body: dict[str, Any]
    terms: Terms

    @property
    def task(self) -> str:
        return self.terms.task or TASK

    @property
    def store(self) -> bool:
        """False where the caller wants no text kept."""
        return self.body.get("store") is not False

    def for_upstream(self, model: str) -> dict[str, Any]:
        """The body to send: the caller's, but for the model and what was meant for the router."""
        body = {**self.body, "model": model}
        body.pop("store", None)
        return body


@dataclass(slots=True)
class _Turn:
    """A request on its way."""

    arrival: Arrival
    request: EmbeddingsRequest
    model: Model
    attempts: int = 0
    upstream_s: float = 0.0
    """Seconds that the upstream was waited for."""

    def headers(self, cost: int) -> dict[str, str]:
        """The headers that every answer has; ``cost`` is in picodollars."""
        return {
            "x-protege-route": "model",
            "x-protege-task": self.request.task,
            "x-protege-model": self.model.upstream.model,
            "x-protege-reason": "forced",
            "x-protege-cost": usd(cost),
            "x-protege-saved": "0",
        }

    def exchange(self, status: int, **answered: Any) -> Exchange:
        """The exchange; ``answered`` are the fields that tell what came of it."""
        arrival, request = self.arrival, self.request
        return Exchange(
            id=arrival.id,
            created=arrival.created,
            task=request.task,
            route="model",
            model=self.model.upstream.model,
            reason="forced",
            status=status,
            stream=False,
            sampled=False,
            dialect="embeddings",
            original=request.raw.decode() if request.store else None,
            attempts=self.attempts,
            key=arrival.key_id,
            latency_s=arrival.elapsed_s(),
            **answered,
        )


@dataclass(frozen=True, slots=True)
class _Embedded:
    """What the upstream sent, and the tokens it counted."""

    content: bytes
    usage: Usage


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The endpoint, a plain ASGI application."""

    engine: Engine
    ledger: Ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrival = Arrival.of(scope)
        try:
            with self.engine.load:
                response = await self._handle(scope, arrival, receive)
        except CallerGoneError:
            _log.debug("request %s has no caller any more", arrival.id)
            return
        except ProtegeError as error:
            response = self._refuse(arrival, error)
        except Exception:
            _log.exception("request %s failed", arrival.id)
            response = self._refuse(arrival, UnexpectedError("The router failed."))
        await response(scope, receive, send)

    async def _handle(self, scope: Scope, arrival: Arrival, receive: Receive) -> Response:
        terms = read_terms(scope["headers"])
        raw = with_model(await read_body(receive, self.engine.largest_body), scope)
        request = parse(raw, terms)
        check_access(arrival.key, request.body["model"], request.task)
        turn = _Turn(arrival, request, self._model(request))
        headers = await self.engine.limits.admit(arrival.key)
        try:
            async with WhileCallerWaits(receive):
                embedded = await self._ask(turn)
        except UpstreamError as error:
            await self._record_nothing(turn, render(error).status, error)
            return refused(error, arrival.id, {**headers, **turn.headers(0)})
        except CallerGoneError as error:
            await self._record_nothing(turn, CALLER_GONE_STATUS, error)
            raise
        usage = embedded.usage
        cost = turn.model.price.cost(usage)
        # No teacher would have done it for another price.
        exchange = turn.exchange(
            200, prompt_tokens=usage.prompt_tokens, cost=cost, teacher_cost=cost
        )
        await self.ledger.record(exchange, turn)
        return passed(embedded.content, arrival.id, {**headers, **turn.headers(cost)})

    def _refuse(self, arrival: Arrival, error: ProtegeError) -> Response:
        response, code = refused(error, arrival.id), code_of(error)
        self.engine.metrics.rejected(response.status_code, code)
        requests.rejected(arrival.id, response.status_code, code)
        return response

    def _model(self, request: EmbeddingsRequest) -> Model:
        """Raises ModelNotFoundError, InvalidRequestError or TooDearError."""
        name = request.body["model"]
        model = self.engine.models.find(name)
        if not isinstance(model, Model):
            raise InvalidRequestError(
                f"The model '{name}' gives no embeddings: configure one for them.", "model"
            )
        budget = request.terms.budget
        expected = model.price.cost(Usage(_tokens(request.body["input"])))
        if budget is not None and expected > budget:
            raise TooDearError(
                f"The embeddings are expected to cost {usd(expected)} USD, more than the request's "
                "budget.",
                "x-protege-budget",
            )
        return model

    async def _ask(self, turn: _Turn) -> _Embedded:
        """Raises UpstreamError."""

        async def call(model: Model) -> _Embedded:
            turn.attempts += 1
            upstream = model.upstream
            body = turn.request.for_upstream(upstream.model)
            content = await upstream.embed(body, turn.arrival.authorization)
            return _Embedded(content, _usage(content, turn.request))

        deadline_s = turn.request.terms.deadline_s
        started = time.perf_counter()
        try:
            answered = await ask_in_time((turn.model,), call, turn.arrival, deadline_s)
        finally:
            turn.upstream_s = time.perf_counter() - started
        return answered.value

    async def _record_nothing(self, turn: _Turn, status: int, failure: Exception) -> None:
        """Write down that there was no answer. Nothing is lost if that fails."""
        try:
            exchange = turn.exchange(status, error=code_of(failure))
            await self.ledger.record(exchange, turn)
        except StoreUnavailableError:
            _log.error("the failed request %s is not in the store", turn.arrival.id)


def parse(raw: bytes, terms: Terms) -> EmbeddingsRequest:
    """Check a request's body. Raises InvalidRequestError, which names the parameter at fault."""
    body = read_object(raw)
    require(body, ("model", "input"))
    check_given(body, _CHECKS)
    return EmbeddingsRequest(raw, body, terms)


def _usage(content: bytes, request: EmbeddingsRequest) -> Usage:
    """What the upstream counted. Raises UpstreamBrokenError if ``content`` holds no embeddings."""
    try:
        body = orjson.loads(content)
        body["data"][0]["embedding"]
        counted = (body.get("usage") or {}).get("prompt_tokens")
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise UpstreamBrokenError("The upstream's answer holds no embeddings.") from error
    return Usage(counted if type(counted) is int else _tokens(request.body["input"]))


def _tokens(inputs: Any) -> int:
    """About how many tokens the input has."""
    if isinstance(inputs, str):
        return math.ceil(len(inputs.encode()) / _BYTES_A_TOKEN)
    return sum(1 if isinstance(item, int) else _tokens(item) for item in inputs)


def _is_input(value: Any) -> bool:
    # A text may be empty: OpenAI takes one that is alone, other servers take them in arrays too.
    if isinstance(value, str):
        return True
    return isinstance(value, list) and bool(value) and (_is_tokens(value) or _is_batch(value))


def _is_batch(value: list[Any]) -> bool:
    texts = all(isinstance(item, str) for item in value)
    return texts or all(isinstance(item, list) and item and _is_tokens(item) for item in value)


def _is_tokens(value: list[Any]) -> bool:
    return all(type(item) is int and item >= 0 for item in value)


_CHECKS: Checks = {
    "model": (is_name, A_NAME),
    "input": (_is_input, "a text, an array of texts, or one or several arrays of tokens"),
    "encoding_format": (lambda value: value in ("float", "base64"), "'float' or 'base64'"),
    "dimensions": (is_count, "a positive integer"),
    "user": (is_text, "a string"),
    "store": (is_flag, "a boolean"),
}
