"""Who answers, by rule and by score."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.decision import breaks_limits, decide, needs_teacher
from policies.scores import RouteScore

TEACHER = RouteScore(cost=100, latency_s=1.0, agreement=1.0)
shares = st.floats(0, 1)


def student(confidence: float) -> RouteScore:
    return RouteScore(cost=0, latency_s=0.001, agreement=confidence)


@given(shares, shares, st.floats(0.01, 0.99))
def test_the_student_answers_iff_it_is_sure_enough(
    confidence: float, threshold: float, audit_rate: float
) -> None:
    decision = decide(None, threshold, TEACHER, student(confidence), audit_rate)
    if confidence >= threshold:
        assert (decision.route, decision.reason) == ("student", "student_confident")
        assert decision.propensity == audit_rate
    else:
        assert (decision.route, decision.reason) == ("teacher", "student_unsure")
        assert decision.propensity == 1.0


@given(shares, st.sampled_from(["tools", "modality", "n", "stop"]))
def test_rules_go_before_scores(confidence: float, rule: str) -> None:
    decision = decide(rule, 0.0, TEACHER, student(confidence), 0.1)
    assert (decision.route, decision.reason, decision.propensity) == ("teacher", rule, 1.0)


def test_without_a_student() -> None:
    decision = decide(None, 0.0, TEACHER, None, 0.1)
    assert (decision.route, decision.reason) == ("teacher", "no_student")


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
