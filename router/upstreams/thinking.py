"""How Claude is told to think, and its thinking while functions are called.

Where thinking has a budget, Anthropic refuses results of functions that were not called after
thinking, as they were not where another model called them or a caller kept no ``thinking_blocks``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from router.upstreams.hints import without

Object = dict[str, Any]

CLAUDES_MODES = ("enabled", "disabled", "adaptive")
"""Types of ``thinking`` that a Claude model takes without a beta."""

_THINKING = frozenset({"thinking"})
_EFFORT = frozenset({"reasoning_effort"})
_THOUGHT = frozenset({"thinking_blocks"})


def is_claude(model: str) -> bool:
    return "claude" in model.lower()


def in_own_words(model: str, body: Object) -> Object:
    """A chat completion request that came through the Messages API, with what ``model`` knows of
    the two things that it says about thinking: Claude's own ``thinking``, and the
    ``reasoning_effort`` of all others, whose highest is "xhigh".

    Claude's thinking has a budget or none at all whatever the effort. Adaptive thinking needs no
    word beside an effort.
    """
    thinking, effort = body.get("thinking"), body.get("reasoning_effort")
    if not is_claude(model):
        said = without(_THINKING, body)
        return {**said, "reasoning_effort": "xhigh"} if effort == "max" else said
    if thinking is None or effort is None:
        return body
    settled = thinking["type"] in ("enabled", "disabled")
    return without(_EFFORT if settled else _THINKING, body)


def resumable(request: Object, *, adapts: bool) -> Object:
    """The chat completion request, for an answer without thinking where it would be refused.

    ``adapts`` says that the model decides itself when to think, unless it is given a budget.
    """
    has_budget = not adapts or (request.get("thinking") or {}).get("type") == "enabled"
    asked = _THINKING | _EFFORT
    if not has_budget or asked.isdisjoint(request) or not _is_unthought(request["messages"]):
        return request
    # Who does not think may not have thought before.
    messages = [without(_THOUGHT, message) for message in request["messages"]]
    return {**without(asked, request), "messages": messages}


def _is_unthought(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last message of the model's calls functions, and it had not thought before it
    called the first of them."""
    end = max((i for i, each in enumerate(messages) if each["role"] == "assistant"), default=-1)
    if end < 0 or not messages[end].get("tool_calls"):
        return False
    first = end
    for place in range(end, -1, -1):
        role = messages[place]["role"]
        # What functions show comes after their results.
        if role == "user" and (not place or messages[place - 1]["role"] != "tool"):
            break
        if role == "assistant":
            first = place
    return not messages[first].get("thinking_blocks")
