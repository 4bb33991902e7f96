"""CSV with a text and its label a row, as classifiers are trained on."""

from __future__ import annotations

from collections.abc import Mapping

from router.estimate.logged import Logged, count, logged, seconds
from telemetry.prices import Usage

NEEDED = ("text", "label")
"""Columns that there must be."""


def read_row(row: Mapping[str | None, str | list[str] | None], default_task: str) -> Logged:
    """One row by column. Raises ValueError with what is wrong with it."""
    if None in row:
        raise ValueError("more values than the header has names")
    missing = [name for name, value in row.items() if value is None]
    if missing:
        raise ValueError(f"no value for {', '.join(map(str, missing))}")
    values = {str(name): str(value) for name, value in row.items()}
    if any("\udc80" <= letter <= "\udcff" for value in values.values() for letter in value):
        raise ValueError("not valid UTF-8")
    if not values["label"].strip():
        raise ValueError("no label")
    body: dict[str, object] = {"messages": [{"role": "user", "content": values["text"]}]}
    if values.get("model"):
        body["model"] = values["model"]
    return logged(
        body,
        values["label"],
        task=values.get("task") or default_task,
        usage=_usage(values),
        created=seconds(values.get("timestamp")),
    )


def _usage(values: Mapping[str, str]) -> Usage | None:
    if not values.get("prompt_tokens"):
        return None
    prompt, completion = "prompt_tokens", "completion_tokens"
    return Usage(count(prompt, values.get(prompt)), count(completion, values.get(completion)))
