"""The types of tools that models may call, in the words of chat completions and of responses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tool:
    """One type."""

    type: str
    """Its name in both, and where a call in a chat completion says what is called."""
    given: str
    """Where a call says what the tool is given, in both."""
    item: str
    """The type of a response's item that is a call,"""
    prefix: str
    """what the ids of such items begin with,"""
    events: str
    """and the names of the events about what the tool is given."""


FUNCTION = Tool("function", "arguments", "function_call", "fc", "response.function_call_arguments")
CUSTOM = Tool("custom", "input", "custom_tool_call", "ctc", "response.custom_tool_call_input")
TOOLS = (FUNCTION, CUSTOM)
