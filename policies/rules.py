"""What goes before every policy: requests that no student can answer, or may not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from policies.formats import fits

Unanswerable = Literal["tools", "modality", "n", "logit_bias"]
"""Why no student can answer a request, whatever its text is."""

Unfamiliar = Literal["length", "instruction"]
"""Why a student may not be asked about a request: what of it is like nothing that it was taught."""

NEVER_ASKED = (*get_args(Unanswerable), "length")
"""Why no student is asked about a request, whenever it comes: for what it is."""

_TOOLS = ("tools", "functions", "web_search_options")
_PLAIN_PARTS = ("text", "refusal")


def needs_teacher(body: Mapping[str, Any]) -> Unanswerable | None:
    """Why no student can answer a valid request whatever its text is; None if one can."""
    if any(body.get(name) for name in _TOOLS) or _uses_tools(body["messages"]):
        return "tools"
    if _is_multimodal(body):
        return "modality"
    if (body.get("n") or 1) > 1:
        return "n"
    if body.get("logit_bias"):
        return "logit_bias"
    return None


def breaks_limits(body: Mapping[str, Any], answer: str, tokens: int) -> str | None:
    """Which limit of the request an ``answer`` of that many ``tokens`` breaks, its required format
    included; None if none."""
    if any(mark in answer for mark in _stop_marks(body.get("stop")) if mark):
        return "stop"
    limits = (body.get("max_completion_tokens"), body.get("max_tokens"))
    if any(limit is not None and tokens > limit for limit in limits):
        return "max_tokens"
    if not fits(answer, body.get("response_format")):
        return "response_format"
    return None


def _uses_tools(messages: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        message["role"] in ("tool", "function")
        or message.get("tool_calls")
        or message.get("function_call")
        for message in messages
    )


def _is_multimodal(body: Mapping[str, Any]) -> bool:
    if body.get("audio") or set(body.get("modalities") or ()) - {"text"}:
        return True
    return any(
        part.get("type") not in _PLAIN_PARTS
        for message in body["messages"]
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def _stop_marks(stop: str | Sequence[str] | None) -> Sequence[str]:
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else stop
