"""Messages as OpenTelemetry's conventions for generative AI want them: a role, and parts of what
was said (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-input-messages.json, and
``gen-ai-output-messages.json`` beside it).

They are made of chat completions, in which callers and upstreams may say what they like: what is
not understood is passed on as it is where that is an object, else left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from telemetry.exchange import Exchange

Message = dict[str, Any]
Part = dict[str, Any]


def asked(request: str) -> list[Message]:
    """The messages of a chat completion's request, which is JSON."""
    messages = orjson.loads(request).get("messages", [])
    return [{"role": each["role"], "parts": list(_parts(each))} for each in messages]


def answered(exchange: Exchange) -> list[Message]:
    """What was answered: a message for each choice."""
    if exchange.choices is not None:
        choices = _objects(orjson.loads(exchange.choices))
    elif exchange.answer is not None:
        message = {"content": exchange.answer}
        choices = [{"message": message, "finish_reason": exchange.finish_reason}]
    else:
        choices = []
    unsaid = "stop" if exchange.error is None else "error"
    return [_answer(each, unsaid) for each in choices]


_REASONS = {"tool_calls": "tool_call", "function_call": "tool_call"}
"""Why a model stopped, where chat completions have another name for it."""


def _answer(choice: dict[str, Any], unsaid: str) -> Message:
    """A choice; ``unsaid`` is why it ended where it does not tell."""
    message, reason = choice.get("message"), choice.get("finish_reason")
    return {
        "role": "assistant",
        "parts": list(_parts(message)) if isinstance(message, dict) else [],
        "finish_reason": _REASONS.get(reason, reason) if isinstance(reason, str) else unsaid,
    }


def _parts(message: Message) -> Iterator[Part]:
    if message.get("role") == "tool":
        identifier, said = message.get("tool_call_id"), message.get("content")
        yield {"type": "tool_call_response", "id": identifier, "response": said}
        return
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(thoughts, str):
        yield {"type": "reasoning", "content": thoughts}
    yield from _contents(message.get("content") or message.get("refusal"))
    for call in _objects(message.get("tool_calls")):
        yield _call(call.get("id"), call.get("function") or call.get("custom"))
    if message.get("function_call"):
        yield _call(None, message["function_call"])


def _contents(content: Any) -> Iterator[Part]:
    if isinstance(content, str):
        yield {"type": "text", "content": content}
    for part in _objects(content):
        text = part.get("text")
        yield {"type": "text", "content": text} if isinstance(text, str) else part


def _call(identifier: Any, called: Any) -> Part:
    said = called if isinstance(called, dict) else {}
    return {
        "type": "tool_call",
        "id": identifier,
        "name": said.get("name"),
        "arguments": said.get("arguments") or said.get("input"),
    }


def _objects(values: Any) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []
