"""``POST /v1/responses``."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import orjson

from router.dialects.responses import output, record
from router.dialects.responses.items import Message
from router.dialects.responses.namespaces import names_of
from router.dialects.responses.output import Ids
from router.dialects.responses.references import resolve
from router.dialects.responses.request import chat_body, check, wants_logprobs
from router.dialects.responses.response import Outcome, Outline, render, status_of
from router.dialects.responses.stream import Stream
from router.errors import NotFoundError, PreviousResponseNotFoundError, ProtegeError, Rendered
from router.errors import render as render_error
from router.lookup import exchange_of
from router.request import ChatRequest, read_object
from router.upstreams.sse import data_of
from telemetry.exchange import Dialect as Name
from telemetry.store import Store


class ResponsesDialect:
    """The Responses API. What was said before is read from ``store``."""

    name: Name = "responses"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, raw: bytes, key: str | None) -> dict[str, Any]:
        sent = read_object(raw)
        check(sent)
        previous = sent.get("previous_response_id")
        earlier = [] if previous is None else await self._until(previous, key)
        if isinstance(sent.get("input"), list):
            sent["input"] = await resolve(self._store, sent["input"], key)
        return chat_body(sent, earlier)

    def writer(self, request: ChatRequest, identifier: str, created: float) -> ResponseWriter:
        assert request.original is not None, "a request in another dialect is kept"
        return ResponseWriter(Outline(identifier, created, orjson.loads(request.original)))

    def error(self, error: ProtegeError) -> Rendered:
        return render_error(error)

    async def _until(self, identifier: str, key: str | None) -> list[Message]:
        """All that was said until the end of a response."""
        try:
            look = partial(record.find_finished, self._store, identifier, key)
            return record.conversation(await exchange_of(look, identifier))
        except NotFoundError as error:
            raise PreviousResponseNotFoundError(
                f"Previous response with id '{identifier}' not found.", "previous_response_id"
            ) from error


class ResponseWriter:
    """Writes one response."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._stream = Stream(outline)

    def whole(self, completion: bytes) -> bytes:
        body = orjson.loads(completion)
        choice = body["choices"][0]
        finish_reason = choice.get("finish_reason")
        sent = self._outline.sent
        ids, logprobs = Ids(self._outline.exchange_id), wants_logprobs(sent)
        outcome = Outcome(
            status=status_of(finish_reason),
            model=body.get("model") or sent["model"],
            output=output.items_of(ids, choice, names_of(sent), logprobs=logprobs),
            usage=body.get("usage"),
            finish_reason=finish_reason,
            service_tier=body.get("service_tier"),
            completed=time.time(),
        )
        return orjson.dumps(render(self._outline, outcome))

    def events(self, chunk: bytes) -> bytes:
        data = data_of(chunk)
        if not data:
            # A comment that keeps the connection alive.
            return chunk
        if data == b"[DONE]":
            self._stream.finish()
        else:
            self._stream.add(orjson.loads(data))
        return self._stream.take()

    def failure(self, error: ProtegeError) -> bytes:
        self._stream.fail(error.message)
        return self._stream.take()
