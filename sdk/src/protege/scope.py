"""What a caller asks of Protege beside the prompt, and the headers that say so."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import wraps
from typing import Any
from urllib.parse import quote


def headers(
    task: str | None = None,
    bound: float | None = None,
    deadline: float | None = None,
    budget: float | Decimal | None = None,
) -> dict[str, str]:
    """One header for each that is given."""
    asked = {
        # Headers hold ASCII alone.
        "task": None if task is None else quote(task),
        "bound": bound,
        "deadline": deadline,
        "budget": budget,
    }
    return {f"x-protege-{name}": str(value) for name, value in asked.items() if value is not None}


def limited(method: Callable[..., Any]) -> Callable[..., Any]:
    """``method`` of one of openai's resources, with ``bound``, ``deadline`` and ``budget`` too."""

    @wraps(method)
    def call(
        self: Any,
        *arguments: Any,
        bound: float | None = None,
        deadline: float | None = None,
        budget: float | Decimal | None = None,
        **options: Any,
    ) -> Any:
        limits = headers(bound=bound, deadline=deadline, budget=budget)
        if limits:
            options["extra_headers"] = {**limits, **(options.get("extra_headers") or {})}
        return method(self, *arguments, **options)

    return call
