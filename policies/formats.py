"""Whether an answer has the format that its request asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from jsonschema_rs import Validator


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
        return _validator(json.dumps(schema).encode()).is_valid(content)
    except (ValueError, RecursionError):
        return False


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Validator:
    """Raises ValueError for what is not a JSON schema."""
    # Imported for the first request that needs it.
    import jsonschema_rs

    return jsonschema_rs.validator_for(orjson.loads(schema), retriever=_refuse)


def _refuse(address: str) -> Any:
    """A caller's schema must not make the router fetch addresses."""
    raise ValueError(f"{address} is not part of the schema")
