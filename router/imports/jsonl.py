"""Lines of JSON, each an object."""

from __future__ import annotations

from typing import Any

import orjson


def fields_of(line: bytes) -> dict[str, Any]:
    """Raises ValueError with what is wrong with the line."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not valid JSON ({error})") from error
    if not isinstance(fields, dict):
        raise ValueError("must be a JSON object")
    return fields
