"""What other providers' models may be told beside OpenAI's API, and OpenAI's own servers refuse:
which parts of a prompt to cache, and what was thought in earlier turns.

None of it changes what is asked for, so that a caller who tells it need not know who answers.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

_OF_MESSAGES = frozenset({"thinking_blocks", "reasoning_content"})
_OF_PARTS = frozenset({"cache_control"})


def without_hints(body: Object) -> Object:
    """A chat completion request as OpenAI takes it."""
    plain = {**body, "messages": [_message(message) for message in body["messages"]]}
    if body.get("tools"):
        plain["tools"] = [without(_OF_PARTS, tool) for tool in body["tools"]]
    return plain


def _message(message: Object) -> Object:
    plain = without(_OF_MESSAGES, message)
    content = plain.get("content")
    if isinstance(content, list):
        return {**plain, "content": [without(_OF_PARTS, part) for part in content]}
    return plain


def without(names: frozenset[str], content: Object) -> Object:
    """``content`` but for what has one of these names."""
    if names.isdisjoint(content):
        return content
    return {name: value for name, value in content.items() if name not in names}
