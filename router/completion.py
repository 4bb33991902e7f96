"""A student's answer in OpenAI's wire format: one completion, or the events of a stream."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import orjson

from distill.students.base import Prediction
from telemetry.prices import Usage

DONE = b"data: [DONE]\n\n"

_LEAST_PROBABILITY = 1e-12
"""Keeps logarithms finite."""


@dataclass(frozen=True, slots=True)
class StudentAnswer:
    """What a student says, with all that the wire format wants to know."""

    id: str
    created: int
    """Unix time in seconds."""
    version: str
    prediction: Prediction
    usage: Usage
    top_logprobs: int | None
    """Alternatives to show; None leaves logprobs out."""


def identifier(exchange: str) -> str:
    """The id of the completion that a student gave in an exchange."""
    return f"chatcmpl-{exchange}"


def completion(answer: StudentAnswer) -> bytes:
    """A ``chat.completion`` object."""
    return orjson.dumps(
        {
            "id": answer.id,
            "object": "chat.completion",
            "created": answer.created,
            "model": answer.version,
            "choices": choices(answer.prediction, answer.top_logprobs),
            "usage": _usage(answer.usage),
        }
    )


def choices(prediction: Prediction, top_logprobs: int | None) -> list[dict[str, Any]]:
    """The choices of a ``chat.completion``, of which there is one."""
    return [
        {
            "index": 0,
            "message": {"role": "assistant", "content": prediction.answer, "refusal": None},
            "logprobs": _logprobs(prediction, top_logprobs),
            "finish_reason": "stop",
        }
    ]


def events(answer: StudentAnswer, *, include_usage: bool) -> list[bytes]:
    """All events of the stream: a student knows its whole answer at once."""
    prediction = answer.prediction
    deltas: list[tuple[dict[str, Any], dict[str, Any] | None, str | None]] = [
        ({"role": "assistant", "content": "", "refusal": None}, None, None),
        ({"content": prediction.answer}, _logprobs(prediction, answer.top_logprobs), None),
        ({}, None, "stop"),
    ]
    parts = [
        [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}]
        for delta, logprobs, finish_reason in deltas
    ]
    stream = [_chunk(answer, part) for part in parts]
    if include_usage:
        stream.append(_chunk(answer, [], _usage(answer.usage)))
    return [*stream, DONE]


def event(content: bytes) -> bytes:
    """One server-sent event around a line of JSON."""
    return b"data: " + content + b"\n\n"


def _chunk(
    answer: StudentAnswer, parts: list[dict[str, Any]], usage: dict[str, Any] | None = None
) -> bytes:
    chunk: dict[str, Any] = {
        "id": answer.id,
        "object": "chat.completion.chunk",
        "created": answer.created,
        "model": answer.version,
        "choices": parts,
    }
    if usage is not None:
        chunk["usage"] = usage
    return event(orjson.dumps(chunk))


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _logprobs(prediction: Prediction, top_logprobs: int | None) -> dict[str, Any] | None:
    """The whole answer as one token: a label student does not write token by token."""
    if top_logprobs is None:
        return None
    alternatives = prediction.alternatives[:top_logprobs]
    # The answer is one of them; a student that knows none still knows how sure it is.
    probability = dict(prediction.alternatives).get(prediction.answer, prediction.confidence)
    token = {
        **_token(prediction.answer, probability),
        "top_logprobs": [_token(text, share) for text, share in alternatives],
    }
    return {"content": [token], "refusal": None}


def _token(text: str, probability: float) -> dict[str, Any]:
    return {
        "token": text,
        "logprob": math.log(min(max(probability, _LEAST_PROBABILITY), 1.0)),
        "bytes": list(text.encode()),
    }
