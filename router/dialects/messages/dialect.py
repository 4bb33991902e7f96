"""The Messages API as a dialect of chat completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from router.dialects.messages.answer import message, message_id
from router.dialects.messages.errors import rendered
from router.dialects.messages.request import chat_request
from router.dialects.messages.schema import Request, check
from router.dialects.messages.stream import MessageEvents
from router.errors import ProtegeError, Rendered
from router.request import ChatRequest, read_object
from telemetry.exchange import Dialect as Name


class MessagesDialect:
    """Anthropic's ``POST /v1/messages``."""

    name: Name = "messages"

    async def read(self, raw: bytes, key: str | None) -> dict[str, Any]:
        return chat_request(check(Request, read_object(raw)))

    def writer(self, request: ChatRequest, identifier: str, created: float) -> MessageWriter:
        return MessageWriter(message_id(identifier), request.body.get("stop") or ())

    def error(self, error: ProtegeError) -> Rendered:
        return rendered(error)


class MessageWriter:
    """Writes the message ``identifier``; ``stops`` are the request's stop sequences."""

    def __init__(self, identifier: str, stops: Sequence[str]) -> None:
        self._identifier = identifier
        self._stops = stops
        self._stream = MessageEvents(identifier, stops)

    def whole(self, completion: bytes) -> bytes:
        return orjson.dumps(message(orjson.loads(completion), self._identifier, self._stops))

    def events(self, chunk: bytes) -> bytes:
        return self._stream.after(chunk)

    def failure(self, error: ProtegeError) -> bytes:
        return b"event: error\ndata: " + rendered(error).content + b"\n\n"
