"""What the tests ask."""

from __future__ import annotations

import json
from typing import Any

MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "is it a cat?"}]
QUESTION: dict[str, Any] = {"model": "auto", "messages": MESSAGES}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"where": {"type": "string"}},
    "required": ["where"],
    "additionalProperties": False,
}
FUNCTION: dict[str, Any] = {
    "name": "look",
    "description": "Looks whether there is an animal.",
    "parameters": SCHEMA,
    "strict": True,
}
TOOL: dict[str, Any] = {"type": "function", "function": FUNCTION}

PLACES = ("on the roof", "under the bed")
ARGUMENTS = [json.dumps({"where": place}) for place in PLACES]
CALLS: list[dict[str, Any]] = [
    {
        "id": f"call_{index}",
        "type": "function",
        "function": {"name": "look", "arguments": arguments},
    }
    for index, arguments in enumerate(ARGUMENTS)
]
CALLING: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": CALLS}
"""An upstream's message that calls the tool twice at once."""

STUDENT = "animals-1"
"""The student that serves the task of `tests.router.taught`."""
JSON_TASK = "animals in JSON"
