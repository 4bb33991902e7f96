"""A request of the Responses API as the chat completion request that says the same.

Parameters that both APIs know, and those that nobody here knows, pass on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from router.checks import (
    Checks,
    check_given,
    expect,
    is_count,
    is_flag,
    is_labels,
    is_mapping,
    is_number,
    is_objects,
    is_text,
    is_texts,
    require,
    text_of,
)
from router.dialects.responses.items import Message, messages_of
from router.dialects.responses.namespaces import name_of
from router.errors import UnsupportedError
from router.request import MAX_TOP_LOGPROBS

LOGPROBS = "message.output_text.logprobs"
"""What ``include`` lists where the caller wants to see log-probabilities."""


def check(sent: Mapping[str, Any]) -> None:
    """Raises InvalidRequestError, which names the parameter at fault."""
    for name, better in _MOVED.items():
        if name in sent:
            raise UnsupportedError(
                f"Unsupported parameter: '{name}'. In the Responses API this is '{better}'.", name
            )
    for name in _UNSUPPORTED:
        if sent.get(name):
            raise UnsupportedError(f"Unsupported parameter: '{name}'.", name)
    check_given(sent, _CHECKS)
    require(sent, ("model",))
    # What there is to answer may all have been said before.
    if sent.get("previous_response_id") is None:
        require(sent, ("input",))


def chat_body(sent: Mapping[str, Any], earlier: Sequence[Message]) -> dict[str, Any]:
    """The chat completion request for a checked request that follows ``earlier`` messages.

    Raises InvalidRequestError where an item, a tool or a format is not one or not supported.
    """
    body = {
        name: value
        for name, value in sent.items()
        if name not in _NOT_PASSED_ON and value is not None
    }
    said = sent.get("input")
    instructions = sent.get("instructions")
    body["messages"] = [
        *([{"role": "system", "content": instructions}] if instructions else ()),
        *earlier,
        *(messages_of(said) if said is not None else ()),
    ]
    expect(bool(body["messages"]), "input", "something that is said")
    body |= _tools(sent) | _format(sent.get("text") or {})
    if sent.get("max_output_tokens") is not None:
        body["max_completion_tokens"] = sent["max_output_tokens"]
    reasoning = sent.get("reasoning") or {}
    if reasoning.get("effort") is not None:
        body["reasoning_effort"] = text_of(reasoning, "effort", "reasoning")
    if wants_logprobs(sent):
        body |= {"logprobs": True, "top_logprobs": sent.get("top_logprobs") or 0}
    if sent.get("stream"):
        # A response tells its usage always.
        body["stream_options"] = {"include_usage": True}
    return body


def wants_logprobs(sent: Mapping[str, Any]) -> bool:
    return LOGPROBS in (sent.get("include") or ())


def _tools(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing where there are none: a chat completion may not choose among no tools."""
    tools = [
        function
        for index, tool in enumerate(sent.get("tools") or ())
        for function in _several(tool, f"tools[{index}]")
    ]
    if not tools:
        return {}
    body: dict[str, Any] = {"tools": tools}
    if sent.get("tool_choice") is not None:
        body["tool_choice"] = _choice(sent["tool_choice"], "tool_choice")
    if sent.get("parallel_tool_calls") is not None:
        body["parallel_tool_calls"] = sent["parallel_tool_calls"]
    return body


def _several(tool: Mapping[str, Any], at: str) -> list[dict[str, Any]]:
    """A tool, or those of a namespace, each described as one of it."""
    if tool.get("type") != "namespace":
        return [_tool(tool, at)]
    space = text_of(tool, "name", at)
    inside: Any = tool.get("tools")
    expect(is_objects(inside), f"{at}.tools", "an array of objects")
    tools = []
    for index, each in enumerate(inside):
        said = (tool.get("description"), each.get("description"))
        described = {"description": "\n\n".join(text for text in said if text)}
        tools.append(_tool({**each, **described, "namespace": space}, f"{at}.tools[{index}]"))
    return tools


def _tool(tool: Mapping[str, Any], at: str) -> dict[str, Any]:
    named = _named(tool, at)
    kind = named["type"]
    for name in _OF_TOOLS[kind]:
        if tool.get(name) is not None:
            named[kind][name] = tool[name]
    if "format" in named[kind]:
        named[kind]["format"] = _input_format(tool["format"], f"{at}.format")
    return named


def _input_format(wanted: Any, at: str) -> dict[str, Any]:
    """What a custom tool may be given."""
    expect(is_mapping(wanted), at, "an object")
    kind = text_of(wanted, "type", at)
    if kind != "grammar":
        return {"type": kind}
    grammar = {name: text_of(wanted, name, at) for name in ("syntax", "definition")}
    return {"type": kind, kind: grammar}


def _choice(choice: Any, at: str) -> Any:
    if isinstance(choice, str):
        return choice
    if choice.get("type") != "allowed_tools":
        return _named(choice, at)
    allowed = choice.get("tools")
    expect(is_objects(allowed), f"{at}.tools", "an array of objects")
    tools = [_named(tool, f"{at}.tools[{index}]") for index, tool in enumerate(allowed)]
    mode = text_of(choice, "mode", at)
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def _named(tool: Mapping[str, Any], at: str) -> dict[str, Any]:
    kind = text_of(tool, "type", at)
    if kind not in _OF_TOOLS:
        raise UnsupportedError(
            f"Tools of type '{kind}' are not supported, only functions and custom tools.",
            f"{at}.type",
        )
    return {"type": kind, kind: {"name": name_of(tool, at)}}


def _format(text: Mapping[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if text.get("verbosity") is not None:
        body["verbosity"] = text_of(text, "verbosity", "text")
    wanted = text.get("format")
    if wanted is None:
        return body
    expect(is_mapping(wanted), "text.format", "an object")
    kind = text_of(wanted, "type", "text.format")
    if kind == "json_object":
        body["response_format"] = {"type": kind}
    elif kind == "json_schema":
        body["response_format"] = {"type": kind, kind: _schema(wanted)}
    elif kind != "text":
        raise UnsupportedError(f"Text of format '{kind}' is not supported.", "text.format.type")
    return body


def _schema(wanted: Mapping[str, Any]) -> dict[str, Any]:
    text_of(wanted, "name", "text.format")
    expect(is_mapping(wanted.get("schema")), "text.format.schema", "an object")
    names = ("name", "description", "schema", "strict")
    return {name: wanted[name] for name in names if wanted.get(name) is not None}


_OF_TOOLS = {
    "function": ("description", "parameters", "strict"),
    "custom": ("description", "format"),
}
"""What is said of a tool beside its name, by its type."""

_UNSUPPORTED = ("background", "conversation", "prompt", "context_management", "n")

_NOT_PASSED_ON = frozenset(
    (
        *_UNSUPPORTED,
        "input",
        "instructions",
        "previous_response_id",
        "include",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "text",
        "reasoning",
        "max_output_tokens",
        "top_logprobs",
        "stream_options",
        # Limits the calls of tools that are not supported.
        "max_tool_calls",
        # What Codex tells OpenAI of itself.
        "client_metadata",
        # No upstream of chat completions cuts a conversation.
        "truncation",
    )
)

_MOVED = {
    "messages": "input",
    "functions": "tools",
    "function_call": "tool_choice",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "reasoning_effort": "reasoning.effort",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "logprobs": "include",
}

_CHECKS: Checks = {
    "model": (is_text, "a string"),
    "input": (
        lambda said: is_text(said) or (isinstance(said, list) and bool(said)),
        "a string or a non-empty array of items",
    ),
    "instructions": (is_text, "a string"),
    "previous_response_id": (is_text, "a string"),
    "include": (is_texts, "an array of strings"),
    "tools": (is_objects, "an array of objects"),
    "tool_choice": (lambda choice: is_text(choice) or is_mapping(choice), "a string or an object"),
    "parallel_tool_calls": (is_flag, "a boolean"),
    "text": (is_mapping, "an object"),
    "reasoning": (is_mapping, "an object"),
    "max_output_tokens": (is_count, "a positive integer"),
    "max_tool_calls": (is_count, "a positive integer"),
    "temperature": (is_number, "a number"),
    "top_p": (is_number, "a number"),
    "top_logprobs": (
        lambda count: type(count) is int and 0 <= count <= MAX_TOP_LOGPROBS,
        f"an integer from 0 to {MAX_TOP_LOGPROBS}",
    ),
    "truncation": (lambda how: how in ("auto", "disabled"), "'auto' or 'disabled'"),
    "metadata": (is_labels, "an object whose values are strings"),
    "store": (is_flag, "a boolean"),
    "stream": (is_flag, "a boolean"),
    "stream_options": (is_mapping, "an object"),
    "user": (is_text, "a string"),
    "safety_identifier": (is_text, "a string"),
    "prompt_cache_key": (is_text, "a string"),
    "service_tier": (is_text, "a string"),
}
