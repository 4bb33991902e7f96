"""The replay teacher: an OpenAI-compatible server that answers from a recording.

It waits about as long as the real model would, counts tokens with the real model's tokenizer, and
calls itself a replay wherever it can.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from random import Random
from typing import Any

import orjson
import typer
import uvicorn
import xxhash
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from router import tokens
from router.demo.samples import Message, Sample, key_of, read_file
from telemetry.prices import Usage

REPLAYED = "gpt-5.4"
"""The model whose prices and tokenizer apply."""
MODEL = f"replay-of-{REPLAYED}"
_FINGERPRINT = "replay"

_FIRST_TOKEN_S = 0.45
_TOKEN_S = 0.015
_SPREAD = 0.35
"""Standard deviation of the delay's logarithm."""


def delay_s(key: bytes, tokens: int, seed: int) -> float:
    """Seconds that the answer to prompt ``key`` takes: log-normal, longer for more output tokens,
    the same each time."""
    median = _FIRST_TOKEN_S + _TOKEN_S * tokens
    rng = Random(xxhash.xxh3_64_intdigest(key, seed=seed))
    return rng.lognormvariate(math.log(median), _SPREAD)


class Replay:
    """The recording behind the HTTP application."""

    def __init__(self, samples: Iterable[Sample], seed: int) -> None:
        self._answers = {sample.key: sample.answer for sample in samples}
        self._seed = seed

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.complete, methods=["POST"]),
                Route("/v1/models", self.models),
            ]
        )

    async def models(self, _request: Request) -> Response:
        model = {
            "id": MODEL,
            "object": "model",
            "created": int(time.time()),
            "owned_by": "protege-replay",
        }
        return _json({"object": "list", "data": [model]})

    async def complete(self, request: Request) -> Response:
        try:
            body = orjson.loads(await request.body())
            messages: list[Message] = body["messages"]
            key = key_of(messages)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return _error(400, "The replay teacher needs a JSON body with messages.", None)
        answer = self._answers.get(key)
        if answer is None:
            message = "This prompt is not in the recording that the replay teacher answers from."
            return _error(404, message, "prompt_not_recorded")
        usage = tokens.usage_of(messages, answer)
        delay = delay_s(key, usage.completion_tokens, self._seed)
        identifier = f"chatcmpl-replay-{xxhash.xxh3_64_hexdigest(key)}"
        if body.get("stream"):
            with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
            events = _events(identifier, answer, delay, usage if with_usage else None)
            return StreamingResponse(events, media_type="text/event-stream")
        await asyncio.sleep(delay)
        return _json(_completion(identifier, answer, usage))


def _completion(identifier: str, answer: str, usage: Usage) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _frame(identifier, "chat.completion", [choice]) | {"usage": _usage(usage)}


async def _events(
    identifier: str, answer: str, delay: float, usage: Usage | None
) -> AsyncIterator[bytes]:
    """The answer word by word over ``delay`` seconds, as server-sent events."""
    words = re.findall(r"\s*\S+|\s+$", answer)
    before_first = delay * _FIRST_TOKEN_S / (_FIRST_TOKEN_S + _TOKEN_S * len(words))
    await asyncio.sleep(before_first)
    yield _event(_chunk(identifier, {"role": "assistant", "content": ""}, None))
    for word in words:
        yield _event(_chunk(identifier, {"content": word}, None))
        await asyncio.sleep((delay - before_first) / len(words))
    yield _event(_chunk(identifier, {}, "stop"))
    if usage is not None:
        last = _frame(identifier, "chat.completion.chunk", [])
        yield _event(last | {"usage": _usage(usage)})
    yield b"data: [DONE]\n\n"


def _chunk(identifier: str, delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _frame(identifier, "chat.completion.chunk", [choice])


def _frame(identifier: str, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": identifier,
        "object": kind,
        "created": int(time.time()),
        "model": MODEL,
        "system_fingerprint": _FINGERPRINT,
        "choices": choices,
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def _error(status: int, message: str, code: str | None) -> Response:
    fields = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return _json({"error": fields}, status)


def serve(recording: Path, port: int, seed: int = 0) -> None:
    """Answer from ``recording``, a file as ``--data`` takes, until told to stop."""
    samples = [sample for of_task in read_file(recording).values() for sample in of_task]
    tokens.prepare()
    application = Replay(samples, seed).application()
    uvicorn.run(application, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    typer.run(serve)
