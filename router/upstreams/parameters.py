"""What of a chat completion request another provider can do.

litellm leaves out what a provider does not know. That is right for hints, such as ``seed`` or
``prompt_cache_key``; where the answer would not be what was asked for, the caller is told instead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from router.errors import UpstreamRefusedError

_OURS = ("model", "store", "metadata")
"""Of no concern to the provider: it keeps nothing for us."""

_EXTENSIONS = ("thinking", "top_k", "cache_control")
"""Parameters that are not OpenAI's and that litellm translates."""

# A parameter beside these could be one of litellm's own, such as where to send the operator's key.
_KNOWN = frozenset(
    (
        *_EXTENSIONS,
        *("audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs"),
        *("max_completion_tokens", "max_tokens", "messages", "modalities", "moderation", "n"),
        *("parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key"),
        *("prompt_cache_options", "prompt_cache_retention", "reasoning_effort"),
        *("response_format", "safety_identifier", "seed", "service_tier", "stop", "stream"),
        *("stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p"),
        *("user", "verbosity", "web_search_options"),
    )
)

# Whether a value asks for something that the answer must have.
_MATTERS: dict[str, Callable[[Any], bool]] = {
    "audio": bool,
    "functions": bool,
    "logit_bias": bool,
    "logprobs": bool,
    "modalities": lambda value: any(kind != "text" for kind in value),
    "n": lambda value: value > 1,
    "parallel_tool_calls": lambda value: value is False,
    "response_format": lambda value: value.get("type", "text") != "text",
    "tool_choice": lambda value: value != "auto",
    "tools": bool,
    "top_logprobs": bool,
    "web_search_options": lambda _value: True,
}

_USUAL_TIERS = ("auto", "default")

_OPENAIS = ("openai", "azure")
"""Providers whose models take tools that are no functions, and a choice among some of several."""

_READ = {
    "anthropic": ("text", "image_url", "file", "document"),
    "gemini": ("text", "image_url", "file", "input_audio"),
}
"""Types of the parts of a user's message that a provider's models are given: litellm leaves out
others, and lets the model answer the rest."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What one model can do: ``supported`` of OpenAI's parameters, by litellm's account."""

    model: str
    provider: str
    supported: frozenset[str]

    def translatable(self, body: dict[str, Any]) -> dict[str, Any]:
        """The arguments for litellm. Raises UpstreamRefusedError for what cannot be done."""
        arguments = {
            name: value
            for name, value in body.items()
            if value is not None and name not in _OURS and not _is_usual(name, value)
        }
        for name, value in arguments.items():
            if name not in _KNOWN:
                raise _refused(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
            matters = _MATTERS.get(name)
            if matters and name not in self.supported and matters(value):
                raise self._unable(f"'{name}'", name)
        # litellm does not tell where the other choices of a stream end.
        if arguments.get("stream") and arguments.get("n", 1) > 1:
            raise self._unable("'n' in a stream", "n")
        if self.provider not in _OPENAIS:
            self._check_tools(arguments.get("tools") or ())
            arguments = _without_others(arguments)
        if self.provider in _READ:
            self._check_parts(arguments.get("messages") or (), _READ[self.provider])
        if self.provider == "anthropic" and _is_free_json(arguments):
            wanted = "'response_format' without a schema: use the type 'json_schema'"
            raise self._unable(wanted, "response_format")
        return arguments

    def _check_tools(self, tools: Sequence[dict[str, Any]]) -> None:
        for index, tool in enumerate(tools):
            if tool.get("type") == "custom":
                raise self._unable("tools of type 'custom'", f"tools[{index}].type")

    def _check_parts(self, messages: Sequence[dict[str, Any]], read: Collection[str]) -> None:
        for index, message in enumerate(messages):
            content = message.get("content")
            if message.get("role") != "user" or not isinstance(content, list):
                continue
            for place, part in enumerate(content):
                kind = part.get("type")
                if kind not in read:
                    at = f"messages[{index}].content[{place}].type"
                    raise self._unable(f"content of type '{kind}'", at)

    def _unable(self, what: str, param: str) -> UpstreamRefusedError:
        return _refused(f"{self.model} cannot do {what}.", param, "unsupported_parameter")


def _is_usual(name: str, value: Any) -> bool:
    """Whether a value says no more than leaving it out. litellm makes priority of tier auto."""
    return name == "service_tier" and value in _USUAL_TIERS


def _without_others(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with those tools alone that ``tool_choice`` allows. Raises
    UpstreamRefusedError where it allows none of them."""
    choice = arguments.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return arguments
    mode, names = _allowed(choice.get("allowed_tools"))
    tools = [tool for tool in arguments.get("tools") or () if _name(tool) in names]
    if not tools:
        message = "'tool_choice' allows none of the tools."
        raise _refused(message, "tool_choice", "invalid_value")
    return {**arguments, "tools": tools, "tool_choice": mode}


def _allowed(said: Any) -> tuple[str, list[str]]:
    """How one of some tools is to be chosen, and their names. Raises UpstreamRefusedError."""
    match said:
        case {"mode": "auto" | "required" as mode, "tools": [*tools]}:
            return mode, [name for tool in tools if (name := _name(tool)) is not None]
    message = "'allowed_tools' must have a mode, 'auto' or 'required', and an array of tools."
    raise _refused(message, "tool_choice.allowed_tools", "invalid_value")


def _name(tool: Any) -> str | None:
    match tool:
        case {"function": {"name": str(name)}}:
            return name
    return None


def _is_free_json(arguments: dict[str, Any]) -> bool:
    return (arguments.get("response_format") or {}).get("type") == "json_object"


def _refused(message: str, param: str, code: str) -> UpstreamRefusedError:
    detail = {
        "message": message,
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }
    return UpstreamRefusedError(400, orjson.dumps({"error": detail}))
