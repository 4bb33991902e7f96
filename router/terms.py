"""What a caller asks of the router itself, in headers of the request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import get_args
from urllib.parse import unquote

from config.settings import PolicyName
from router.checks import A_NAME, expect, is_name
from router.errors import InvalidRequestError
from telemetry.exchange import PICO

_PREFIX = b"x-protege-"
_MOST_USD = 1e9
_POLICIES: tuple[str, ...] = get_args(PolicyName)


@dataclass(frozen=True, slots=True)
class Terms:
    """None where the caller does not say."""

    task: str | None = None
    bound: float | None = None
    """Most of a student's answers that may be wrong for it to answer this request."""
    deadline_s: float | None = None
    """Seconds to wait for the teacher, from the request's arrival."""
    budget: int | None = None
    """Most that the answer may cost, in picodollars."""
    policy: PolicyName | None = None


UNSAID = Terms()


def read_terms(headers: Iterable[tuple[bytes, bytes]]) -> Terms:
    """Raises InvalidRequestError, which names the header at fault. Unknown ones are ignored."""
    said = {
        name[len(_PREFIX) :]: value.decode("latin-1")
        for name, value in headers
        if name.startswith(_PREFIX)
    }
    if not said:
        return UNSAID
    budget = _number(said, b"budget", "a number of USD, 0 or more", lambda usd: usd >= 0)
    return Terms(
        task=_task(said.get(b"task")),
        bound=_number(said, b"bound", "a number from 0 to 1", lambda share: 0 <= share <= 1),
        deadline_s=_number(said, b"deadline", "a positive number of seconds", lambda s: s > 0),
        # Enough for any answer, and still a number of picodollars.
        budget=None if budget is None else round(min(budget, _MOST_USD) * PICO),
        policy=_policy(said.get(b"policy")),
    )


def _task(said: str | None) -> str | None:
    name = unquote(said) if said else None
    expect(name is None or is_name(name), "x-protege-task", A_NAME)
    return name


def _policy(name: str | None) -> PolicyName | None:
    if name is None or name in _POLICIES:
        return name  # type: ignore[return-value]
    raise InvalidRequestError(
        f"Invalid value for 'x-protege-policy': expected one of {', '.join(_POLICIES)}.",
        "x-protege-policy",
    )


def _number(
    said: dict[bytes, str], name: bytes, expected: str, fits: Callable[[float], bool]
) -> float | None:
    text = said.get(name)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number) and fits(number):
        return number
    header = (_PREFIX + name).decode()
    raise InvalidRequestError(f"Invalid value for '{header}': expected {expected}.", header)
