"""An OpenAI-compatible server for tests: real HTTP on a real port, answers and faults to order."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import struct
import threading
import uuid
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from aiohttp import web

from tests.router.threaded import Threaded

PROMPT_TOKENS = 40
COMPLETION_TOKENS = 8

UNKNOWN = {"none", "nobody", "unknown", "nonsense", "gpt-9"}
"""Models that the server does not have; it has all others."""


def label(text: str) -> str:
    """The stub's own classification: whether a text speaks of a cat."""
    return "cat" if "cat" in text else "dog"


@dataclass
class Received:
    """A request as the upstream got it."""

    body: dict[str, Any]
    headers: dict[str, str]
    query: str


@dataclass
class StubUpstream(Threaded):
    """Runs in a thread from ``start`` to ``stop``. What it does may be changed at any time."""

    answer: Callable[[str], str] = label
    """The answer to the text of the last message."""
    status: int = 200
    """Anything else is answered with an error in OpenAI's shape."""
    content: bytes | None = None
    """Replaces the body of errors and completions."""
    error_headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    """Before the answer, or before the first token of a stream."""
    gap_s: float = 0.0
    """Between the tokens of a stream."""
    hold: threading.Event | None = None
    """Streams wait for it after their first token."""
    break_after: int | None = None
    """Drop the connection after so many tokens of a stream."""
    error_after: int | None = None
    """Send an error event after so many tokens of a stream, and end it."""
    key: str | None = None
    """The only key that is let in, if set."""
    message: dict[str, Any] | None = None
    """Replaces the message of a completion. In a stream what it calls comes in pieces."""
    finish_reason: str = "stop"
    spend: Callable[[], int] = lambda: COMPLETION_TOKENS
    """Tokens of the next completion."""
    byte_by_byte: bool = False
    """Whether streams arrive in network chunks of a few bytes."""
    requests: list[Received] = field(default_factory=list)
    hung_up: int = 0
    """Streams that the caller has not waited for to the end."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def reset(self) -> None:
        """Behave again, and forget what has been asked."""
        for attribute in fields(self):
            if attribute.name != "port":
                fresh = attribute.default_factory
                value = attribute.default if fresh is MISSING else fresh()
                setattr(self, attribute.name, value)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/chat/completions", self._complete)
        router.add_post("/v1/embeddings", self._embed)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        refusal = await self._receive(request, body)
        if refusal is not None:
            return refusal
        text = body["messages"][-1].get("content")
        answer = self.answer(text if isinstance(text, str) else "")
        if body.get("stream"):
            try:
                return await self._stream(request, body, answer)
            except ConnectionResetError:
                self.hung_up += 1
                raise
        return web.json_response(self._completion(body, answer))

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        refusal = await self._receive(request, body)
        if refusal is not None:
            return refusal
        given = body["input"]
        # One text is a string or, as tokens, a list of numbers.
        several = isinstance(given, list) and not isinstance(given[0], int)
        texts = given if several else [given]
        as_text = body.get("encoding_format") == "base64"
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": _base64(vector) if as_text else vector,
            }
            for index, vector in enumerate(embedding(str(text)) for text in texts)
        ]
        usage = {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}
        return web.json_response(
            {"object": "list", "data": data, "model": body["model"], "usage": usage}
        )

    async def _receive(self, request: web.Request, body: dict[str, Any]) -> web.Response | None:
        """Note a request; the answer if it is not to have what it asks for."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Received(body, headers, request.query_string))
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        if body["model"] in UNKNOWN:
            words = f"The model '{body['model']}' does not exist."
            return _error(404, words, "model_not_found", param="model")
        # A stream is slow at its first token, not at its headers: that is what providers do.
        if not body.get("stream") or self.status != 200:
            await asyncio.sleep(self.delay_s)
        if self.content is not None:
            return web.Response(status=self.status, body=self.content)
        if self.status != 200:
            return _error(self.status, "The stub is out of order.", None, self.error_headers)
        return None

    def _completion(self, body: dict[str, Any], answer: str) -> dict[str, Any]:
        message = self.message or {"role": "assistant", "content": answer, "refusal": None}
        choices = [
            {
                "index": index,
                "message": message,
                "logprobs": _logprobs(body, answer),
                "finish_reason": self.finish_reason,
            }
            for index in range(body.get("n") or 1)
        ]
        return {
            "id": _identifier(),
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": choices,
            "usage": _usage(self.spend()),
        }

    async def _stream(
        self, request: web.Request, body: dict[str, Any], answer: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)

        identifier = _identifier()

        async def send(data: str) -> None:
            event = f"data: {data}\n\n".encode()
            size = 3 if self.byte_by_byte else len(event)
            for start in range(0, len(event), size):
                await response.write(event[start : start + size])

        def chunk(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> str:
            content = {
                "id": identifier,
                "object": "chat.completion.chunk",
                "created": 1,
                "model": body["model"],
                "choices": choices,
                "usage": usage,
            }
            return json.dumps(content, ensure_ascii=False)

        async def say(delta: dict[str, Any], finish_reason: str | None = None) -> None:
            logprobs = _logprobs(body, delta.get("content") or "")
            for index in range(body.get("n") or 1):
                said = {"index": index, "delta": delta, "finish_reason": finish_reason}
                await send(chunk([said | ({"logprobs": logprobs} if logprobs else {})]))

        await say({"role": "assistant", "content": ""})
        await asyncio.sleep(self.delay_s)
        for index, call in enumerate((self.message or {}).get("tool_calls", [])):
            for piece in _pieces(index, call):
                await say({"tool_calls": [piece]})
        called = (self.message or {}).get("function_call")
        for piece in _pieces(0, {"id": None, "function": called}) if called else ():
            await say({"function_call": piece["function"]})
        thought = (self.message or {}).get("reasoning_content")
        if thought:
            await say({"reasoning_content": thought})
        for index, token in enumerate((self.message or {"content": answer})["content"] or ""):
            if index == self.break_after:
                assert request.transport is not None
                request.transport.abort()
                return response
            if index == self.error_after:
                await send('{"error": {"message": "The stub broke off.", "type": "server_error"}}')
                return response
            await say({"content": token})
            while self.hold is not None and not self.hold.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(self.gap_s)
        await say({}, self.finish_reason)
        if (body.get("stream_options") or {}).get("include_usage"):
            await send(chunk([], _usage(self.spend())))
        await send("[DONE]")
        return response


def embedding(text: str) -> list[float]:
    """The stub's own embedding, exact in 32 bits: the length of a text, and whether of a cat."""
    return [float(len(text)), float(label(text) == "cat")]


def _identifier() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _pieces(index: int, call: dict[str, Any]) -> list[dict[str, Any]]:
    """A tool call as it comes in a stream: its name first, then what it is given bit by bit."""
    kind, given = ("custom", "input") if "custom" in call else ("function", "arguments")
    called = call[kind]
    head = {"id": call["id"], "type": kind}
    first = {"index": index, **head, kind: {"name": called["name"], given: ""}}
    said = called[given]
    bits = [said[start : start + 5] for start in range(0, len(said), 5)]
    return [first, *({"index": index, kind: {given: bit}} for bit in bits)]


def _logprobs(body: dict[str, Any], text: str) -> dict[str, Any] | None:
    """A log-probability for each letter, where they were asked for; none for what has no text."""
    if not body.get("logprobs") or not text:
        return None

    def of(letter: str, probability: float) -> dict[str, Any]:
        return {"token": letter, "logprob": math.log(probability), "bytes": list(letter.encode())}

    alternatives = [of("?", 0.1)] * (body.get("top_logprobs") or 0)
    tokens = [{**of(letter, 0.5), "top_logprobs": alternatives} for letter in text]
    return {"content": tokens, "refusal": None}


def _usage(completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": completion,
        "total_tokens": PROMPT_TOKENS + completion,
    }


def _error(
    status: int,
    message: str,
    code: str | None,
    headers: dict[str, str] | None = None,
    param: str | None = None,
) -> web.Response:
    content = {"error": {"message": message, "type": "stub_error", "param": param, "code": code}}
    return web.json_response(content, status=status, headers=headers)
