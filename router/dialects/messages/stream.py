"""The events of a message, from the chunks of a chat completion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from router.dialects.messages.answer import Ending, thoughts, tool_use, usage
from router.upstreams.answer import text_in
from router.upstreams.sse import data_of

Object = dict[str, Any]

_DONE = b"[DONE]"


class MessageEvents:
    """Turns chunks into events. At any time at most one content block is open.

    A block begins with the first part of it and ends where another begins, or with the stream;
    only the pieces of a tool call that is not the last may come when its block has been closed.
    ``stops`` are the request's stop sequences.
    """

    def __init__(self, identifier: str, stops: Sequence[str]) -> None:
        self._identifier = identifier
        self._stops = stops
        self._begun = False
        self._blocks = 0
        self._open: str | None = None
        """Kind of the block that is open."""
        self._tools: dict[int, int] = {}
        """Block of each tool call by the call's index."""
        self._ending = Ending()
        self._usage: Object | None = None

    def after(self, event: bytes) -> bytes:
        """The events that follow from one of a chat completion's stream."""
        data = data_of(event)
        if not data:
            return b""
        events = self._end() if data == _DONE else self._chunk(orjson.loads(data))
        return b"".join(_event(each) for each in events)

    def _chunk(self, chunk: Object) -> Iterator[Object]:
        if not self._begun:
            self._begun = True
            yield self._start(chunk)
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            if not choice.get("index"):
                delta = choice.get("delta") or {}
                self._ending.see(choice, delta)
                yield from self._delta(delta)

    def _delta(self, delta: Object) -> Iterator[Object]:
        for thought in thoughts(delta):
            yield from self._thought(thought)
        for text in (text_in(delta.get("content")), delta.get("refusal")):
            if text:
                if self._open != "text":
                    yield from self._begin({"type": "text", "text": ""})
                yield self._add({"type": "text_delta", "text": text})
        for call in delta.get("tool_calls") or ():
            yield from self._call(call)

    def _thought(self, thought: Object) -> Iterator[Object]:
        if thought["type"] == "redacted_thinking":
            yield from self._begin(thought)
            return
        if self._open != "thinking":
            yield from self._begin({"type": "thinking", "thinking": "", "signature": ""})
        if thought["thinking"]:
            yield self._add({"type": "thinking_delta", "thinking": thought["thinking"]})
        if thought["signature"]:
            yield self._add({"type": "signature_delta", "signature": thought["signature"]})
            # A signature ends what it signs.
            yield from self._close()

    def _call(self, call: Object) -> Iterator[Object]:
        index = call.get("index") or 0
        if index not in self._tools:
            yield from self._begin(tool_use(call, self._identifier, index))
            self._tools[index] = self._blocks - 1
        piece = (call.get("function") or {}).get("arguments")
        if piece:
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield self._add(delta, self._tools[index])

    def _start(self, chunk: Object) -> Object:
        message: Object = {
            "id": self._identifier,
            "type": "message",
            "role": "assistant",
            "model": chunk.get("model") or "",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # It is known at the end.
            "usage": usage(None),
        }
        return {"type": "message_start", "message": message}

    def _begin(self, block: Object) -> Iterator[Object]:
        yield from self._close()
        self._open = block["type"]
        yield {"type": "content_block_start", "index": self._blocks, "content_block": block}
        self._blocks += 1

    def _add(self, delta: Object, block: int | None = None) -> Object:
        """Add to the block, or to the last one."""
        index = self._blocks - 1 if block is None else block
        return {"type": "content_block_delta", "index": index, "delta": delta}

    def _close(self) -> Iterator[Object]:
        if self._open is not None:
            self._open = None
            yield {"type": "content_block_stop", "index": self._blocks - 1}

    def _end(self) -> Iterator[Object]:
        yield from self._close()
        delta = self._ending.stop(self._stops)
        yield {"type": "message_delta", "delta": delta, "usage": usage(self._usage)}
        yield {"type": "message_stop"}


def _event(content: Object) -> bytes:
    return b"event: " + content["type"].encode() + b"\ndata: " + orjson.dumps(content) + b"\n\n"
