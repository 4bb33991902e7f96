"""Which task a request belongs to, and what of it varies within the task.

The caller may name the task in ``metadata.task`` or a header. Otherwise requests with the same
instruction are one task. The instruction is the leading system (or developer) messages; a request
that has none, or nothing but them, carries it at the head of its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import xxhash

HEAD_WORDS = 8
"""Words of a text that stand for its instruction where it has no system message."""

_SLUG_WORDS = 4

_MOST_REMEMBERED = 65536
"""Characters of an instruction that is worth remembering."""

_DAY = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sep(?:t(?:ember)?)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_OF_MONTH = r"\d{1,2}(?:st|nd|rd|th)?"

# What an application fills into an otherwise constant instruction: dates, times, identifiers.
_VARYING = re.compile(
    # What no other character begins need not be tried at any other.
    r"\b(?=[\dA-Fa-fJMNOSTW])(?:"
    rf"(?:{_OF_MONTH}(?: of)? )?{_MONTH},?(?: {_OF_MONTH},?)? \d{{4}}"
    rf"|{_DAY}"
    r"|\d{4}([-/.])\d{2}\1\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
    r"|\d{1,2}([/.])\d{1,2}\2\d{4}"
    r"|\d{1,2}:\d{2}(?::\d{2})?"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{16,}"
    r"|\d{5,}"
    r")\b"
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request as its task sees it."""

    task: str
    text: str
    """Everything but the constant instruction."""
    leading: str = ""
    """The leading system messages; empty where there are none apart from the text."""

    @property
    def instruction(self) -> str:
        """A name for the instruction, the same whatever an application fills into it."""
        return _named_by(_masked(self.leading))


def read_prompt(body: Mapping[str, Any], named: str | None = None) -> Prompt:
    """The task and the varying text of a chat completion request that has valid ``messages``.

    ``named`` is the task's name where the caller gave it outside of the body.
    """
    messages: Sequence[Mapping[str, Any]] = body["messages"]
    instruction, rest = _split(messages)
    text = "\n".join(_text(message) for message in rest)
    task = _named(body) or named or _fingerprint(instruction or _head(text), body)
    return Prompt(task, text, instruction)


def _named(body: Mapping[str, Any]) -> str | None:
    metadata = body.get("metadata")
    name = metadata.get("task") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) and name else None


def _split(
    messages: Sequence[Mapping[str, Any]],
) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """The instruction, empty where there is none apart from the text, and the other messages."""
    leading = 0
    # A system message with a name is an example (example_user), not an instruction.
    while (
        leading < len(messages)
        and messages[leading].get("role") in ("system", "developer")
        and not messages[leading].get("name")
    ):
        leading += 1
    if leading == len(messages):
        return "", messages
    return "\n".join(_text(message) for message in messages[:leading]), messages[leading:]


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(
        part["text"]
        for part in parts
        if isinstance(part, Mapping) and isinstance(part.get("text"), str)
    )


def _head(text: str) -> str:
    return " ".join(text.split(maxsplit=HEAD_WORDS)[:HEAD_WORDS])


def _fingerprint(instruction: str, body: Mapping[str, Any]) -> str:
    """A name for the instruction and the answer's required format."""
    form = (repr(body.get("tools")), repr(body.get("response_format")))
    return _named_by(_masked(instruction), *form)


def _masked(instruction: str) -> str:
    """The instruction without what an application fills into it."""
    # To look through one takes longer than all else that is done to a request.
    mask = _remembered if len(instruction) <= _MOST_REMEMBERED else _mask
    return mask(instruction)


def _mask(instruction: str) -> str:
    return _VARYING.sub("#", instruction)


_remembered = lru_cache(maxsize=64)(_mask)


def _named_by(masked: str, *form: str) -> str:
    """A readable slug of an instruction and a hash of it and of the form of its answers."""
    digest = xxhash.xxh3_64()
    for part in (masked, *form):
        digest.update(part.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    words = re.findall(r"[a-z0-9]+", masked.lower()[:200])[:_SLUG_WORDS]
    return "-".join([*words, digest.hexdigest()[:8]])
