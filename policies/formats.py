"""Whether an answer has the format that its request asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson

if TYPE_CHECKING:
    from jsonschema_rs import Validator

_LONGEST = 200_000
"""Bytes of a schema, since many are remembered."""

_MOST_STEPS = 100_000
"""Of a schema's parts that one value is checked against: it takes milliseconds. References to what
has references itself, or checks of what other parts left over, make any number of a few lines."""

_DYNAMIC = ("$dynamicRef", "$recursiveRef")
"""References that mean another thing depending on how they were come by."""

_UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")
_AGAIN = 3
"""So often what stands beside one of these is gone through at most."""


def fits(answer: str, response_format: Mapping[str, Any] | None) -> bool:
    """Whether ``answer`` is what ``response_format`` of a chat completion request allows.

    False too for a format or a schema that is none: the teacher knows what to say of it.
    """
    kind = (response_format or {}).get("type", "text")
    if response_format is None or kind == "text":
        return True
    try:
        content = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return False
    if kind == "json_object":
        return isinstance(content, dict)
    if kind != "json_schema":
        return False
    wanted = response_format.get("json_schema")
    schema = wanted.get("schema") if isinstance(wanted, Mapping) else None
    try:
        # orjson reads longer integers than it writes.
        written = json.dumps(schema).encode()
        return len(written) <= _LONGEST and _validator(written).is_valid(content)
    except (ValueError, RecursionError):
        return False


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Validator:
    """Raises ValueError for what is not a JSON schema, or takes too long to check."""
    # Imported for the first request that needs it.
    import jsonschema_rs

    content = orjson.loads(schema)
    if _steps(content) > _MOST_STEPS:
        raise ValueError("it would take too long to check an answer against the schema")
    return jsonschema_rs.validator_for(content, retriever=_refuse)


def _steps(schema: Any) -> int:
    """How many parts of ``schema`` a value is checked against at most: those that are referred to
    count each time that they are. Raises ValueError for references that are no paths within it."""
    known: dict[str, int] = {}
    name = "id" if isinstance(schema, dict) and "draft-04" in str(schema.get("$schema")) else "$id"

    def of(part: Any) -> int:
        if isinstance(part, list):
            return 1 + sum(map(of, part))
        if not isinstance(part, dict):
            return 1
        is_renamed = part is not schema and isinstance(part.get(name), str)
        if is_renamed or not part.keys().isdisjoint(_DYNAMIC):
            raise ValueError("what a path leads to depends on where it stands")
        steps = 1 + sum(map(of, part.values()))
        if isinstance(part.get("$ref"), str):
            steps += referred(part["$ref"])
        return steps if part.keys().isdisjoint(_UNEVALUATED) else _AGAIN * steps

    def referred(path: str) -> int:
        if path not in known:
            # Validators go around a circle once.
            known[path] = 1
            known[path] = of(_at(schema, path))
        return known[path]

    return of(schema)


def _at(schema: Any, path: str) -> Any:
    """The part of ``schema`` at a JSON pointer (RFC 6901) in a URL. Raises ValueError."""
    start, *names = unquote(path).split("/")
    if start != "#":
        raise ValueError(f"{path} is not a path within the schema")
    part = schema
    for name in (name.replace("~1", "/").replace("~0", "~") for name in names):
        try:
            part = part[int(name)] if isinstance(part, list) else part[name]
        except (LookupError, TypeError) as error:
            raise ValueError(f"{path} is not part of the schema") from error
    return part


def _refuse(address: str) -> Any:
    """A caller's schema must not make the router fetch addresses."""
    raise ValueError(f"{address} is not part of the schema")
