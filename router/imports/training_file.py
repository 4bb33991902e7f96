"""Training files: lines of JSON, each a conversation that ends with the right answer.

The chat format of https://platform.openai.com/docs/guides/supervised-fine-tuning. What a student
would not learn is refused, not ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from policies.rules import needs_teacher
from router.checks import refuse_others
from router.errors import InvalidRequestError
from router.imports.jsonl import fields_of
from router.request import check_messages

MOST_EXAMPLES = 10_000
"""A training run reads no more imported pairs, so that there is room for the evidence."""

_PARAM = "file"


@dataclass(frozen=True, slots=True)
class Pair:
    """A conversation and the answer to it."""

    messages: list[dict[str, Any]]
    answer: str


def read_pairs(content: bytes) -> list[Pair]:
    """The examples of a file. Raises InvalidRequestError, which names the line at fault."""
    pairs = list(_pairs(content))
    if not pairs:
        raise InvalidRequestError("The file has no examples.", _PARAM)
    return pairs


def _pairs(content: bytes) -> Iterator[Pair]:
    found = 0
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        found += 1
        if found > MOST_EXAMPLES:
            raise _wrong(number, f"a file has at most {MOST_EXAMPLES:,} examples")
        try:
            yield _pair(fields_of(line))
        except ValueError as error:
            raise _wrong(number, str(error)) from error
        except InvalidRequestError as error:
            raise _wrong(number, error.message) from error


def _pair(fields: dict[str, Any]) -> Pair:
    """Raises ValueError or InvalidRequestError."""
    # Data frames write null for what one line has and another has not.
    given = {name: value for name, value in fields.items() if value is not None}
    refuse_others(given, ("messages",))
    messages = given.get("messages")
    if not isinstance(messages, list) or len(messages) < 2:
        raise ValueError("expected 'messages', an array of at least a question and its answer")
    check_messages(messages)
    *asked, last = messages
    answer = last.get("content")
    if last["role"] != "assistant" or not isinstance(answer, str) or not answer.strip():
        raise ValueError("expected the last message to be the assistant's, with a text")
    if any(message.get("weight") is not None for message in messages):
        raise ValueError("'weight' is not supported: the last message is learnt, and no other")
    beyond = needs_teacher(given)
    if beyond is not None:
        raise ValueError(f"no student is asked such a request ({beyond})")
    return Pair(asked, answer)


def _wrong(number: int, reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"Invalid file format. Line {number}: {reason.rstrip('.')}.", _PARAM)
