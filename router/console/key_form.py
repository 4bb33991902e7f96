"""The form that says what a key may do: filled in from a key, and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData

from router.keys.grant import Grant, mistake_in
from telemetry.exchange import PICO
from telemetry.keys import Key

Said = dict[str, str]
"""What is in the fields, by their names."""

_MINUTE = "%Y-%m-%dT%H:%M"
"""What a browser's field for a date and time of day holds."""

EMPTY: Mapping[str, str] = dict.fromkeys(
    (
        *("name", "budget_usd", "period", "requests_per_minute", "tokens_per_minute"),
        *("models", "tasks", "expires_at", "admin"),
    ),
    "",
)

_NAMES = {
    "budget_usd": "budget",
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "expires_at": "ends",
}
"""Of fields that are called otherwise on the page."""


def said_in(form: FormData) -> Said:
    return {name: str(form.get(name, "")).strip() for name in EMPTY}


def said_of(key: Key) -> Said:
    """The form as it stands for a key."""
    return {
        "name": key.name,
        "budget_usd": "" if key.budget is None else _plain(key.budget),
        "period": key.period,
        "requests_per_minute": _text(key.requests_per_minute),
        "tokens_per_minute": _text(key.tokens_per_minute),
        "models": ", ".join(key.models or ()),
        "tasks": ", ".join(key.tasks or ()),
        "expires_at": "" if key.expires is None else f"{_moment(key.expires):{_MINUTE}}",
        "admin": "yes" if key.admin else "",
    }


def read(said: Said) -> Grant:
    """What the form says. Raises ValueError, in words for whoever has filled it in."""
    given: dict[str, Any] = {name: _READ[name](name, value) for name, value in said.items()}
    try:
        return Grant(**given)
    except ValidationError as error:
        name, reason = mistake_in(error)
        raise ValueError(f"{_NAMES.get(name, name)}: {reason}") from error


def _number(kind: Callable[[str], float]) -> Callable[[str, str], float | None]:
    def number(name: str, value: str) -> float | None:
        try:
            return kind(value) if value else None
        except ValueError:
            raise ValueError(f"{_NAMES[name]}: expected a number") from None

    return number


def _list(_name: str, value: str) -> Sequence[str] | None:
    return [one.strip() for one in value.split(",") if one.strip()] or None


def _time(name: str, value: str) -> float | None:
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp() if value else None
    except ValueError:
        raise ValueError(f"{_NAMES[name]}: expected a date and a time of day") from None


def _itself(_name: str, value: str) -> str:
    return value


def _ticked(_name: str, value: str) -> bool:
    return value == "yes"


_READ: Mapping[str, Callable[[str, str], Any]] = {
    "name": _itself,
    "budget_usd": _number(float),
    "period": _itself,
    "requests_per_minute": _number(int),
    "tokens_per_minute": _number(int),
    "models": _list,
    "tasks": _list,
    "expires_at": _time,
    "admin": _ticked,
}


def _plain(picodollars: int) -> str:
    """Dollars to the last digit."""
    whole, rest = divmod(picodollars, PICO)
    return f"{whole}.{rest:012}".rstrip("0").rstrip(".")


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def _moment(time_s: float) -> datetime:
    return datetime.fromtimestamp(time_s, UTC)
