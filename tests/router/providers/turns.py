"""A conversation with a tool and an image in it, and what is asked of every provider."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PNG = "iVBORw0KGgo="
LOOK: Any = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks.",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    },
}
CALL: Any = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"at": "the cat"}'},
}
SCHEMA = {
    "type": "object",
    "properties": {"animal": {"type": "string", "enum": ["cat", "dog"]}},
    "required": ["animal"],
    "additionalProperties": False,
}
AS_SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {"name": "animal", "strict": True, "schema": SCHEMA},
}
IMAGE_WITHOUT_DATA: Any = {"type": "image_url", "image_url": {"url": "data:image/png,"}}
HI: Any = [{"role": "user", "content": "hi"}]
CONVERSATION: Any = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        ],
    },
    {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "furry"},
]


def put_together(chunks: Iterable[Any]) -> dict[str, Any]:
    """What a caller has in the end of a stream: text, reasoning, calls, finish reason, usage."""
    text, reasoning, finish_reason, usage = "", "", None, None
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            delta = choice.delta
            text += delta.content or ""
            reasoning += getattr(delta, "reasoning_content", None) or ""
            reasoning += getattr(delta, "reasoning", None) or ""
            finish_reason = choice.finish_reason or finish_reason
            for piece in delta.tool_calls or ():
                call = calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
                call["id"] += piece.id or ""
                call["name"] += piece.function.name or ""
                call["arguments"] += piece.function.arguments or ""
    return {
        "text": text,
        "reasoning": reasoning,
        "calls": list(calls.values()),
        "finish_reason": finish_reason,
        "usage": usage,
    }
