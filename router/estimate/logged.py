"""What logs are read into, whatever their format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from policies.tasks import Prompt
from router.errors import InvalidRequestError
from router.request import parse
from router.terms import Terms
from telemetry.prices import Usage


class EstimateError(Exception):
    """There is nothing to estimate from; the message is one sentence for who asked."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One request of a log, and what the teacher said to it."""

    body: dict[str, Any]
    """A valid chat completion request."""
    prompt: Prompt
    answer: str | None
    """The teacher's whole answer; None where it was no text or was cut off."""
    usage: Usage | None = None
    """None where the log does not say."""
    cost: int | None = None
    """Picodollars, where the log says what was charged."""
    created: float | None = None
    """Unix time in seconds."""
    right_answer: str | None = None
    """What a person has put in the answer's place."""


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that cannot be used."""

    where: str
    """File and line."""
    reason: str


class Log(Protocol):
    """Logs in the order of their rows. Reading raises EstimateError where they cannot be read."""

    @property
    def title(self) -> str: ...

    @property
    def size(self) -> int:
        """How much there is to read, in a unit of its own."""
        ...

    @property
    def read(self) -> int:
        """How much of it has been read."""
        ...

    def rows(self) -> AbstractContextManager[Iterator[Logged | Bad]]: ...


def logged(
    body: dict[str, Any],
    answer: str | None,
    *,
    task: str | None = None,
    usage: Usage | None = None,
    cost: int | None = None,
    created: float | None = None,
    right_answer: str | None = None,
) -> Logged:
    """Check the request as the server would. ``task`` names it where its body does not.

    Raises ValueError with what is wrong.
    """
    try:
        request = parse({"model": "auto", **body}, b"", Terms(task=task))
    except InvalidRequestError as error:
        raise ValueError(str(error)) from error
    return Logged(request.body, request.prompt, answer, usage, cost, created, right_answer)


def seconds(value: Any) -> float | None:
    """A point in time, given as Unix seconds or in ISO 8601 (UTC if it does not say), as Unix
    seconds; None for nothing. Raises ValueError."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        try:
            time = datetime.fromtimestamp(float(value), UTC)
        except ValueError:
            time = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError) as error:
        message = f"the time {value!r} is neither Unix seconds nor ISO 8601"
        raise ValueError(message) from error
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def count(name: str, value: Any) -> int:
    """A number of tokens; nothing is none. Raises ValueError."""
    if value is None or value == "":
        return 0
    try:
        tokens = int(value) if isinstance(value, str) else value
    except ValueError:
        tokens = None
    if type(tokens) is not int or not 0 <= tokens < 10**9:
        raise ValueError(f"{name}: expected a number of tokens (got {value!r})")
    return tokens
