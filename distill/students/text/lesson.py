"""What a text student is taught: a request, the teacher's answer, and what else the teacher gave.

That is the likeliest tokens at each place of the answer, where the log keeps them
(``teacher_logprobs``), and the reasoning that came before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Told = Sequence[tuple[str, Mapping[str, float]]]
"""The tokens of an answer, each with the log-probabilities (nats) of the likeliest in its place, by
their texts."""

_ROUNDED = 1e-3
"""What is certain may be said to be a little more than that."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A request and its answer."""

    text: str
    """What varies of the request."""
    answer: str
    told: Told = ()
    """Of the answer's tokens; empty where the teacher gave none."""
    trace: str = ""
    """The teacher's reasoning; empty where it gave none."""
    messages: Sequence[Mapping[str, Any]] = field(default=())
    """The whole request, for a local teacher to read."""


def lesson(text: str, answer: str, request: str | None, choices: str | None) -> Lesson:
    """Of an exchange's ``request`` and ``choices``, as it keeps them, where it does.

    What was said of another text than ``answer`` (a person may have put it right) is left out.
    """
    messages = json.loads(request)["messages"] if request else ()
    given = _first(choices)
    message = given.get("message") or {}
    if message.get("content") != answer:
        return Lesson(text, answer, messages=messages)
    told = _told(given.get("logprobs"))
    if "".join(token for token, _ in told) != answer:
        told = ()
    trace = message.get("reasoning_content")
    return Lesson(text, answer, told, trace if isinstance(trace, str) else "", messages)


def _first(choices: str | None) -> Mapping[str, Any]:
    read = json.loads(choices or "[]")
    return read[0] if read else {}


def _told(logprobs: Any) -> Told:
    """What the log-probabilities of an answer say; nothing where any of them is none: an upstream
    that speaks OpenAI's API may leave null in their place, or something of its own."""
    try:
        told = tuple(_token(each) for each in (logprobs or {}).get("content") or ())
        likeliest = [each for _, of in told for each in of.items()]
        sound = all(isinstance(text, str) and logprob < _ROUNDED for text, logprob in likeliest)
    except (AttributeError, KeyError, TypeError):
        return ()
    return told if sound else ()


def _token(token: Mapping[str, Any]) -> tuple[str, dict[str, float]]:
    """As OpenAI's API gives it
    (https://platform.openai.com/docs/api-reference/chat/object#chat/object-choices)."""
    likeliest = {each["token"]: each["logprob"] for each in token.get("top_logprobs") or ()}
    return token["token"], {**likeliest, token["token"]: token["logprob"]}
