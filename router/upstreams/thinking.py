"""Claude's thinking while functions are called.

Where thinking has a budget, Anthropic refuses results of functions that were not called after
thinking, as they were not where another model called them or a caller kept no ``thinking_blocks``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

_THINKING = frozenset({"thinking", "reasoning_effort"})


def resumable(request: Object, *, adapts: bool) -> Object:
    """The chat completion request, for an answer without thinking where it would be refused.

    ``adapts`` says that the model decides itself when to think, unless it is given a budget.
    """
    has_budget = not adapts or (request.get("thinking") or {}).get("type") == "enabled"
    if not has_budget or _THINKING.isdisjoint(request) or not _is_unthought(request["messages"]):
        return request
    plain = {name: value for name, value in request.items() if name not in _THINKING}
    # Who does not think may not have thought before.
    plain["messages"] = [
        {name: value for name, value in message.items() if name != "thinking_blocks"}
        for message in request["messages"]
    ]
    return plain


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
