"""JSON lines with chat completion requests and their answers.

A line is a request, its answer in ``answer``, or as the completion's ``choices``, or as the last of
its messages, which is how fine-tuning data have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.estimate.logged import Logged, count, logged, seconds
from router.imports.jsonl import fields_of
from telemetry.prices import Usage

_BESIDE = frozenset(
    {"answer", "choices", "usage", "task", "timestamp", "created", "id", "object"}
    | {"system_fingerprint", "weight"}
)
"""What a line may hold that is no part of the request."""


def read_line(line: bytes) -> Logged:
    """One line. Raises ValueError with what is wrong with it."""
    fields = fields_of(line)
    body = {name: value for name, value in fields.items() if name not in _BESIDE}
    answer = _answer(fields, body)
    task = fields.get("task")
    if task is not None and not isinstance(task, str):
        raise ValueError("`task` must be a string")
    time = fields.get("timestamp")
    return logged(
        body,
        answer,
        task=task,
        usage=_usage(fields.get("usage")),
        created=seconds(fields.get("created") if time is None else time),
    )


def _answer(fields: Mapping[str, Any], body: dict[str, Any]) -> str | None:
    """The answer, which is taken out of ``body`` where that holds it; None where it is no text."""
    if fields.get("answer") is not None:
        if not isinstance(fields["answer"], str):
            raise ValueError("`answer` must be a string")
        return fields["answer"]
    choices = fields.get("choices")
    if choices is not None:
        return _chosen(choices, body)
    messages = body.get("messages")
    if isinstance(messages, list) and messages and _is_assistants(messages[-1]):
        body["messages"] = messages[:-1]
        return _said(messages[-1])
    raise ValueError("no answer: no `answer`, no `choices`, and no assistant's message at the end")


def _chosen(choices: Any, body: dict[str, Any]) -> str | None:
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        raise ValueError("`choices` must be a list of a completion's choices")
    if len(choices) > 1:
        body["n"] = len(choices)
    message = choices[0].get("message")
    if not isinstance(message, dict):
        raise ValueError("`choices` must each have a `message`")
    finished = choices[0].get("finish_reason") in ("stop", None)
    return _said(message) if finished else None


def _is_assistants(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def _said(message: Mapping[str, Any]) -> str | None:
    """The text of an answer; None where it is no text."""
    content = message.get("content")
    if message.get("tool_calls") or message.get("function_call"):
        return None
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str)) or None
    return content if isinstance(content, str) else None


def _usage(said: Any) -> Usage | None:
    if said is None:
        return None
    if not isinstance(said, dict):
        raise ValueError("`usage` must be an object")
    usage = Usage(
        count("usage.prompt_tokens", said.get("prompt_tokens")),
        count("usage.completion_tokens", said.get("completion_tokens")),
        _detail(said, "prompt_tokens_details", "cached_tokens"),
        _detail(said, "completion_tokens_details", "reasoning_tokens"),
    )
    return usage.with_total(count("usage.total_tokens", said.get("total_tokens")))


def _detail(said: Mapping[str, Any], part: str, name: str) -> int:
    details = said.get(part)
    return count(f"usage.{part}.{name}", details.get(name)) if isinstance(details, dict) else 0
