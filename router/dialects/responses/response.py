"""The response object, at any moment of its life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from router.dialects.responses.output import Item, incomplete_reason, response_id

Status = Literal["in_progress", "completed", "incomplete", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known of a response before it is answered."""

    exchange_id: str
    created: float
    """Unix time in seconds."""
    sent: Mapping[str, Any]
    """The request."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a response."""

    status: Status
    model: str
    output: Sequence[Item] = ()
    usage: Mapping[str, Any] | None = None
    finish_reason: str | None = None
    service_tier: str | None = None
    completed: float | None = None
    """Unix time in seconds."""
    error: str | None = None
    """What went wrong, in words."""


def status_of(finish_reason: str | None) -> Status:
    """Of an answer that has come to its end."""
    return "incomplete" if incomplete_reason(finish_reason) else "completed"


def render(outline: Outline, outcome: Outcome) -> dict[str, Any]:
    """The response object. Parameters that were not sent are shown with OpenAI's defaults."""
    sent = outline.sent
    reason = incomplete_reason(outcome.finish_reason)
    completed = outcome.completed if outcome.status == "completed" else None
    return {
        "id": response_id(outline.exchange_id),
        "object": "response",
        "created_at": int(outline.created),
        "status": outcome.status,
        "background": False,
        "completed_at": None if completed is None else int(completed),
        "error": _error(outcome.error),
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": sent.get("instructions"),
        "max_output_tokens": sent.get("max_output_tokens"),
        "max_tool_calls": sent.get("max_tool_calls"),
        "model": outcome.model,
        "output": list(outcome.output),
        "parallel_tool_calls": _or(sent.get("parallel_tool_calls"), True),
        "previous_response_id": sent.get("previous_response_id"),
        "prompt_cache_key": sent.get("prompt_cache_key"),
        "reasoning": {"effort": None, "summary": None, **(sent.get("reasoning") or {})},
        "safety_identifier": sent.get("safety_identifier"),
        "service_tier": outcome.service_tier or sent.get("service_tier") or "default",
        "store": _or(sent.get("store"), True),
        "temperature": _or(sent.get("temperature"), 1.0),
        "text": {"format": {"type": "text"}, **(sent.get("text") or {})},
        "tool_choice": _or(sent.get("tool_choice"), "auto"),
        "tools": [_tool(tool) for tool in sent.get("tools") or ()],
        "top_logprobs": _or(sent.get("top_logprobs"), 0),
        "top_p": _or(sent.get("top_p"), 1.0),
        # Whatever was asked for: a conversation is never cut.
        "truncation": "disabled",
        "usage": _usage(outcome.usage),
        "user": sent.get("user"),
        "metadata": sent.get("metadata") or {},
    }


_FUNCTION = {"description": None, "parameters": None, "strict": None}
"""What a function that was sent need not say."""


def _tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**_FUNCTION, **tool} if tool["type"] == "function" else tool


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _error(error: str | None) -> dict[str, Any] | None:
    return None if error is None else {"code": "server_error", "message": error}


def _usage(usage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A chat completion's usage in the words of the Responses API."""
    if not usage:
        return None
    spent = usage.get("prompt_tokens") or 0
    made = usage.get("completion_tokens") or 0
    read = usage.get("prompt_tokens_details") or {}
    written = usage.get("completion_tokens_details") or {}
    return {
        "input_tokens": spent,
        "input_tokens_details": {
            "cached_tokens": read.get("cached_tokens") or 0,
            "cache_write_tokens": read.get("cache_write_tokens") or 0,
        },
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens") or 0},
        "total_tokens": usage.get("total_tokens") or spent + made,
    }
