"""Chat completions themselves: nothing is translated."""

from __future__ import annotations

from typing import Any

from router.completion import event
from router.errors import ProtegeError, Rendered, render
from router.request import ChatRequest, read_object
from telemetry.exchange import Dialect as Name


class ChatDialect:
    """OpenAI's ``POST /v1/chat/completions``."""

    name: Name = "chat"

    async def read(self, raw: bytes, key: str | None) -> dict[str, Any]:
        return read_object(raw)

    def writer(self, request: ChatRequest, identifier: str, created: float) -> ChatWriter:
        return _WRITER

    def error(self, error: ProtegeError) -> Rendered:
        return render(error)


class ChatWriter:
    """What the upstream or the student wrote passes on as it is."""

    def whole(self, completion: bytes) -> bytes:
        return completion

    def events(self, chunk: bytes) -> bytes:
        return chunk

    def failure(self, error: ProtegeError) -> bytes:
        return event(render(error).content)


_WRITER = ChatWriter()
