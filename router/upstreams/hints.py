"""What other providers' models may be told beside OpenAI's API, and OpenAI's own servers refuse:
which parts of a prompt to cache, what was thought in earlier turns, and how Claude is to think.

None of it changes what is asked for, so that a caller who tells it need not know who answers.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

_OF_MESSAGES = frozenset({"thinking_blocks", "reasoning_content"})
_OF_PARTS = frozenset({"cache_control"})

CLAUDES_MODES = ("enabled", "disabled", "adaptive")
"""Types of ``thinking`` that a Claude model takes without a beta."""

_CLAUDE = "claude"
_THINKING = frozenset({"thinking"})
_EFFORT = frozenset({"reasoning_effort"})


def without_hints(body: Object) -> Object:
    """A chat completion request as OpenAI takes it."""
    plain = {**body, "messages": [_message(message) for message in body["messages"]]}
    if body.get("tools"):
        plain["tools"] = [_without(_OF_PARTS, tool) for tool in body["tools"]]
    return plain


def in_own_words(model: str, body: Object) -> Object:
    """A chat completion request that came through the Messages API, with what ``model`` knows of
    the two things that it says about thinking: Claude's own ``thinking``, and the
    ``reasoning_effort`` of all others, whose highest is "xhigh".

    Claude's thinking has a budget or none at all whatever the effort. Adaptive thinking needs no
    word beside an effort.
    """
    thinking, effort = body.get("thinking"), body.get("reasoning_effort")
    if _CLAUDE not in model.lower():
        said = _without(_THINKING, body)
        return {**said, "reasoning_effort": "xhigh"} if effort == "max" else said
    if thinking is None or effort is None:
        return body
    settled = thinking["type"] in ("enabled", "disabled")
    return _without(_EFFORT if settled else _THINKING, body)


def _message(message: Object) -> Object:
    plain = _without(_OF_MESSAGES, message)
    content = plain.get("content")
    if isinstance(content, list):
        return {**plain, "content": [_without(_OF_PARTS, part) for part in content]}
    return plain


def _without(names: frozenset[str], content: Object) -> Object:
    if names.isdisjoint(content):
        return content
    return {name: value for name, value in content.items() if name not in names}
