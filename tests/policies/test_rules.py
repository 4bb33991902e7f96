"""What no student can do, whatever the policy."""

from __future__ import annotations

from typing import Any

import pytest

from policies.rules import breaks_limits, needs_teacher


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, None),
        ({"tools": [], "functions": None, "n": None, "modalities": ["text"]}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"functions": [{"name": "f"}]}, "tools"),
        ({"web_search_options": {"search_context_size": "low"}}, "tools"),
        ({"messages": [{"role": "tool", "content": "42"}]}, "tools"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "tools"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "modality"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "modality"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}, None),
        ({"modalities": ["text", "audio"]}, "modality"),
        ({"n": 2}, "n"),
        ({"logit_bias": {}}, None),
        ({"logit_bias": {"1734": -100}}, "logit_bias"),
        ({"response_format": {"type": "json_schema"}}, None),
    ],
)
def test_what_only_the_teacher_can_do(more: dict[str, Any], reason: str | None) -> None:
    body = {"messages": [{"role": "user", "content": "hello"}], **more}
    assert needs_teacher(body) == reason


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({}, None),
        ({"max_tokens": 3}, None),
        ({"max_tokens": 2}, "max_tokens"),
        ({"max_completion_tokens": 2}, "max_tokens"),
        ({"stop": "\n"}, None),
        ({"stop": None}, None),
        ({"stop": ["", "\n"]}, None),
        ({"stop": ["x", "es"]}, "stop"),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, "response_format"),
    ],
)
def test_limits(limits: dict[str, Any], reason: str | None) -> None:
    assert breaks_limits(limits, "yes", tokens=3) == reason
