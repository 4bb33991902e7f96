"""litellm's answers as chat completions, without what it adds of its own.

What is kept beside OpenAI's fields is what providers say more than OpenAI does: reasoning, thinking
blocks and the fields that they want to see again in a later turn.
"""

from __future__ import annotations

from typing import Any

import orjson

_FIELDS = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
# litellm's own idea of the cost is left out: there is one ledger.
_USAGE = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
)


def completion(content: dict[str, Any], stop: str | None = None) -> bytes:
    """A ``chat.completion`` object, from litellm's without its nulls, which ended at the stop
    sequence ``stop``, if at any."""
    choices = [_ended(_whole(choice), stop) for choice in content["choices"]]
    return orjson.dumps({**_common(content), "choices": choices})


def chunk(content: dict[str, Any], stop: str | None = None) -> bytes:
    """A ``chat.completion.chunk`` object, from litellm's without its nulls."""
    choices = [_ended(_part(choice), stop) for choice in content["choices"]]
    return orjson.dumps({**_common(content), "choices": choices})


def _ended(choice: dict[str, Any], stop: str | None) -> dict[str, Any]:
    """With the ``stop`` sequence that it ended at under vLLM's name: OpenAI has none."""
    is_last = stop is not None and choice["finish_reason"] == "stop"
    return {**choice, "stop_reason": stop} if is_last else choice


def _common(content: dict[str, Any]) -> dict[str, Any]:
    common = {name: content[name] for name in _FIELDS if name in content}
    if "usage" in content:
        usage = content["usage"]
        common["usage"] = {name: usage[name] for name in _USAGE if name in usage}
    return common


def _whole(choice: dict[str, Any]) -> dict[str, Any]:
    said = _said(choice["message"])
    if "tool_calls" in said:
        said["tool_calls"] = [
            {name: value for name, value in call.items() if name != "index"}
            for call in said["tool_calls"]
        ]
    return {
        "index": choice["index"],
        "message": {"role": "assistant", "content": None, "refusal": None, **said},
        "logprobs": choice.get("logprobs"),
        "finish_reason": choice["finish_reason"],
    }


def _part(choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "index": choice["index"],
        "delta": _said(choice["delta"]),
        "logprobs": choice.get("logprobs"),
        "finish_reason": choice.get("finish_reason"),
    }


def _said(message: dict[str, Any]) -> dict[str, Any]:
    """A message or a delta without empty lists, and without saying anything twice."""
    said = {name: value for name, value in message.items() if value not in ([], {})}
    more = said.pop("provider_specific_fields", {})
    kept = {name: value for name, value in more.items() if name not in said and value}
    return {**said, "provider_specific_fields": kept} if kept else said
