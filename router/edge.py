"""One exported student as a server of its own: no teacher, no store, no keys, nothing kept.

Where it is not sure enough to keep its promise it says so, with status 422: clients do not try
that again, as they would a 5xx, and whoever has a teacher knows to ask it.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from config.settings import LimitSettings
from distill.students.ladder import Ladder
from policies.rules import breaks_limits, needs_teacher
from router import completion
from router.api.wire import answered, refused
from router.dialects.chat import ChatDialect
from router.endpoint import read_body
from router.errors import (
    MethodNotAllowedError,
    ModelNotFoundError,
    ProtegeError,
    StudentNotFoundError,
    StudentUnableError,
    StudentUnsureError,
    UnexpectedError,
    UnknownPathError,
)
from router.http.hangup import CallerGoneError
from router.http.http1 import Http1
from router.load import Load
from router.reply import Reply
from router.request import ChatRequest, parse, read_object
from router.students.serving import Asked, Student
from router.terms import read_terms
from router.turn import Arrival

_SURE = "auto"
"""The name under which the student answers what it is sure of, as its version does,"""
_FORCED = "student"
"""and the one under which it answers all it can."""

_log = logging.getLogger(__name__)


class Completions:
    """``POST /v1/chat/completions``."""

    def __init__(self, ladder: Ladder, always: bool) -> None:
        """With ``always``, what the student is not sure of is answered too."""
        limits = LimitSettings()
        self._task = ladder.task
        self._always = always
        # What takes long to answer has threads of its own.
        self._student = Student(ladder, ThreadPoolExecutor(1), ThreadPoolExecutor(1))
        self._load = Load(limits.in_flight)
        self._largest_body = round(limits.body_mb * 1e6)

    @property
    def models(self) -> tuple[str, ...]:
        """The names that a request's ``model`` may have."""
        return (_SURE, _FORCED, self._student.version)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrival = Arrival.of(scope)
        reply = Reply(send, arrival, ChatDialect())
        try:
            with self._load:
                await self._handle(scope, arrival, receive, reply)
        except CallerGoneError:
            _log.debug("request %s was never complete", arrival.id)
        except StudentUnsureError as error:
            await reply.error(error, {"x-protege-confidence": _confidence(error.confidence)})
        except ProtegeError as error:
            await reply.error(error)
        except Exception:
            _log.exception("request %s failed", arrival.id)
            await reply.error(UnexpectedError("The student failed."))

    async def _handle(self, scope: Scope, arrival: Arrival, receive: Receive, reply: Reply) -> None:
        raw = await read_body(receive, self._largest_body)
        request = parse(read_object(raw), raw, read_terms(scope["headers"]))
        self._check(request)
        text = request.prompt.text
        must = self._always or request.model == _FORCED
        # How sure it is of a text longer than all that it was tested on means nothing.
        too_long = self._student.is_too_long(text)
        if too_long and not must:
            raise StudentUnsureError("The text is longer than all that it was tested on.", 0.0)
        asked = await self._student.predict(text)
        confidence = asked.prediction.confidence
        sure = confidence >= self._student.threshold and not too_long
        if not sure and not must:
            raise StudentUnsureError(_unsure(asked), confidence)
        usage = self._student.usage(text, asked.prediction.answer)
        limit = breaks_limits(request.body, asked.prediction.answer, usage.completion_tokens)
        if limit is not None:
            raise StudentUnableError(f"The student cannot answer this request: {limit}.")
        answer = completion.StudentAnswer(
            completion.identifier(arrival.id),
            int(arrival.created),
            self._student.version,
            asked.prediction,
            usage,
            request.top_logprobs,
        )
        headers = {
            "x-protege-route": "student",
            "x-protege-task": self._task,
            "x-protege-model": self._student.version,
            "x-protege-reason": "student_confident" if sure else "forced",
            "x-protege-confidence": _confidence(confidence),
        }
        reply.begin(request, headers)
        if request.stream:
            await reply.start_stream({})
            await reply.end(completion.events(answer, include_usage=request.include_usage))
        else:
            await reply.completion(completion.completion(answer), {})

    def _check(self, request: ChatRequest) -> None:
        """Raises ModelNotFoundError, StudentNotFoundError or StudentUnableError."""
        if request.model not in self.models:
            raise ModelNotFoundError(f"The model '{request.model}' does not exist.", "model")
        metadata = request.body.get("metadata") or {}
        named = metadata.get("task") or request.terms.task
        if named is not None and named != self._task:
            raise StudentNotFoundError(f"This student knows the task '{self._task}' alone.")
        rule = needs_teacher(request.body)
        if rule is not None:
            raise StudentUnableError(f"The student cannot answer this request: {rule}.")


def create(ladder: Ladder, *, always: bool) -> Starlette:
    """The application that serves ``ladder``."""
    completions = Completions(ladder, always)
    created = int(time.time())

    def describe(name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": created, "owned_by": "protege"}

    async def list_models(_request: Request) -> Response:
        listed = [describe(name) for name in completions.models]
        return answered({"object": "list", "data": listed})

    async def get_model(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in completions.models:
            raise ModelNotFoundError(f"The model '{name}' does not exist.", "model")
        return answered(describe(name))

    async def healthz(_request: Request) -> Response:
        return answered({"status": "ok"})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", completions, methods=["POST"]),
            Route("/v1/models", list_models),
            Route("/v1/models/{name:path}", get_model),
            Route("/healthz", healthz),
        ],
        exception_handlers={HTTPException: _http_error, ProtegeError: _our_error},
    )


def serve(app: Starlette, listener: socket.socket) -> None:
    """Serve on ``listener`` until told to stop."""
    # uvicorn hands a signal on to whoever held it before, once it has stopped serving.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: sys.exit(0))
    config = uvicorn.Config(
        app,
        http=Http1,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    uvicorn.Server(config).run([listener])


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        wrong = f"{request.url.path} does not answer to {request.method}."
        return refused(MethodNotAllowedError(wrong), Arrival(None).id, error.headers or {})
    wrong = f"Unknown path: {request.method} {request.url.path}"
    return refused(UnknownPathError(wrong), Arrival(None).id)


async def _our_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProtegeError)
    return refused(error, Arrival(None).id)


def _unsure(asked: Asked) -> str:
    if math.isinf(asked.floor):
        return f"The student leaves such requests to the teacher: {asked.stratum}."
    needed = f"{_confidence(asked.prediction.confidence)}, where {asked.floor:.6g} is needed"
    return f"The student is not sure of its answer: {needed}."


def _confidence(value: float) -> str:
    return f"{value:.6f}"
