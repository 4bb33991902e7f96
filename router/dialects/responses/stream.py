"""The events of a response, made from the chunks of a chat completion.

Items are announced, filled and closed one after the other, as OpenAI does it. What comes for an
item that has been closed becomes an item of its own; only function calls, whose parts may be mixed
with those of others, stay open until they are whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import orjson

from router.dialects.responses import output
from router.dialects.responses.growing import Call, Emit, Message, Reasoning
from router.dialects.responses.namespaces import names_of
from router.dialects.responses.output import Ids, Item
from router.dialects.responses.request import wants_logprobs
from router.dialects.responses.response import Outcome, Outline, render, status_of
from router.dialects.responses.tools import CUSTOM, FUNCTION

_Open = TypeVar("_Open", Reasoning, Message, Call)


class Stream:
    """One response as it comes into being. ``take`` fetches the events that are due."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._logprobs = wants_logprobs(outline.sent)
        self._names = names_of(outline.sent)
        self._ids = Ids(outline.exchange_id)
        self._due: list[bytes] = []
        self._number = 0
        self._items: list[Reasoning | Message | Call] = []
        self._calls: dict[int, Call] = {}
        self._tokens: list[Item] = []
        self._model: str = outline.sent["model"]
        self._service_tier: str | None = None
        self._usage: Mapping[str, Any] | None = None
        self._finish_reason: str | None = None

    def take(self) -> bytes:
        due = b"".join(self._due)
        self._due.clear()
        return due

    def add(self, chunk: Mapping[str, Any]) -> None:
        """A ``chat.completion.chunk``."""
        self._model = chunk.get("model") or self._model
        self._service_tier = chunk.get("service_tier") or self._service_tier
        self._usage = chunk.get("usage") or self._usage
        self._begin()
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) == 0:
                self._add_choice(choice)

    def finish(self) -> None:
        """All chunks have come."""
        self._begin()
        if not self._items:
            self._open(Message).say("")
        reason = output.incomplete_reason(self._finish_reason)
        for item in self._items:
            if not item.closed:
                is_cut_off = reason is not None and item is self._items[-1]
                item.close("incomplete" if is_cut_off else "completed")
        status = status_of(self._finish_reason)
        outcome = Outcome(
            status=status,
            model=self._model,
            output=[item.shown("completed") for item in self._items],
            usage=self._usage,
            finish_reason=self._finish_reason,
            service_tier=self._service_tier,
            completed=time.time(),
        )
        self._emit(f"response.{status}", response=render(self._outline, outcome))

    def fail(self, message: str) -> None:
        """No more chunks will come."""
        self._begin()
        outcome = Outcome(
            status="failed",
            model=self._model,
            output=[item.shown("incomplete") for item in self._items],
            usage=self._usage,
            error=message,
        )
        self._emit("response.failed", response=render(self._outline, outcome))

    def _begin(self) -> None:
        if self._number:
            return
        response = render(self._outline, Outcome("in_progress", self._model))
        self._emit("response.created", response=response)
        self._emit("response.in_progress", response=response)

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta") or {}
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        thoughts = output.reasoning_text(delta)
        if thoughts:
            self._open(Reasoning).say(thoughts)
        thinking = delta.get("thinking_blocks")
        if thinking:
            self._open(Reasoning).keep(thinking)
        if self._logprobs:
            self._tokens += output.tokens_of(choice.get("logprobs"))
        text = output.text_of(delta)
        if text:
            self._open(Message).say(text, self._tokens)
            self._tokens = []
        if delta.get("refusal"):
            self._open(Message).refuse(delta["refusal"])
        for call in delta.get("tool_calls") or ():
            self._call(call).add(call, self._names)

    def _open(self, kind: type[_Open]) -> _Open:
        """The last item, if it is of this ``kind``, or else a new one."""
        if self._items and isinstance(self._items[-1], kind):
            return self._items[-1]
        return self._append(kind)

    def _call(self, part: Mapping[str, Any]) -> Call:
        """The call that ``part`` is of."""
        index = part.get("index", 0)
        if index not in self._calls:
            tool = FUNCTION if part.get(CUSTOM.type) is None else CUSTOM
            self._calls[index] = self._append(partial(Call, tool))
        return self._calls[index]

    def _append(self, make: Callable[[Emit, Ids, int], _Open]) -> _Open:
        for item in self._items:
            if not item.closed and item.is_whole():
                item.close("completed")
        new = make(self._emit, self._ids, len(self._items))
        self._items.append(new)
        return new

    def _emit(self, kind: str, /, **fields: Any) -> None:
        content = {"type": kind, "sequence_number": self._number, **fields}
        self._due.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(content)))
        self._number += 1
