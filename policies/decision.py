"""Who answers a request, and why.

Rules come first: what a student cannot do at all goes to the teacher. Then the student answers if
its probability of agreement clears the threshold that its calibration found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from policies.formats import fits
from policies.scores import RouteScore

_TOOLS = ("tools", "functions", "web_search_options")
_PLAIN_PARTS = ("text", "refusal")


@dataclass(frozen=True, slots=True)
class Decision:
    """The route taken, and the scores behind it."""

    route: Literal["teacher", "student"]
    reason: str
    teacher: RouteScore
    student: RouteScore | None
    """None where no student was asked."""
    threshold: float
    """The least probability of agreement at which the student may answer."""
    propensity: float
    """Probability that the teacher is asked for its answer, at once or in an audit."""


def decide(
    rule: str | None,
    threshold: float,
    teacher: RouteScore,
    student: RouteScore | None,
    audit_rate: float,
) -> Decision:
    """Choose a route. ``rule`` is a reason for the teacher that overrides all scores."""
    if rule is not None:
        return Decision("teacher", rule, teacher, student, threshold, 1.0)
    if student is None:
        return Decision("teacher", "no_student", teacher, None, threshold, 1.0)
    if student.agreement < threshold:
        return Decision("teacher", "student_unsure", teacher, student, threshold, 1.0)
    return Decision("student", "student_confident", teacher, student, threshold, audit_rate)


def needs_teacher(body: Mapping[str, Any]) -> str | None:
    """Why no student can answer a valid request whatever its text is; None if one can."""
    if any(body.get(name) for name in _TOOLS) or _uses_tools(body["messages"]):
        return "tools"
    if _is_multimodal(body):
        return "modality"
    if (body.get("n") or 1) > 1:
        return "n"
    return None


def breaks_limits(body: Mapping[str, Any], answer: str, tokens: int) -> str | None:
    """Which limit of the request an ``answer`` of that many ``tokens`` breaks, its required format
    included; None if none."""
    if any(mark in answer for mark in _stop_marks(body.get("stop")) if mark):
        return "stop"
    limits = (body.get("max_completion_tokens"), body.get("max_tokens"))
    if any(limit is not None and tokens > limit for limit in limits):
        return "max_tokens"
    if not fits(answer, body.get("response_format")):
        return "response_format"
    return None


def _uses_tools(messages: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        message["role"] in ("tool", "function")
        or message.get("tool_calls")
        or message.get("function_call")
        for message in messages
    )


def _is_multimodal(body: Mapping[str, Any]) -> bool:
    if body.get("audio") or set(body.get("modalities") or ()) - {"text"}:
        return True
    return any(
        part.get("type") not in _PLAIN_PARTS
        for message in body["messages"]
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def _stop_marks(stop: str | Sequence[str] | None) -> Sequence[str]:
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else stop
