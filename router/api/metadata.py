"""Pairs of strings that callers attach to what is stored, as all of OpenAI's API has them."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import QueryParams

from router.api.wire import text_of
from router.errors import InvalidRequestError
from router.lookup import is_searchable

MOST_PAIRS = 16
LONGEST_KEY = 64
LONGEST_VALUE = 512


def wanted_metadata(query: QueryParams) -> dict[str, str]:
    """The filters of a list, ``metadata[key]=value``. Raises InvalidRequestError."""
    pairs = {}
    for name in query:
        if name.startswith("metadata[") and name.endswith("]"):
            if not is_searchable(name):
                raise InvalidRequestError("A key of 'metadata' has a null character.", "metadata")
            pairs[name[len("metadata[") : -1]] = text_of(query, name) or ""
    if len(pairs) > MOST_PAIRS:
        raise InvalidRequestError(
            f"A list may be filtered by at most {MOST_PAIRS} pairs of 'metadata'.", "metadata"
        )
    return pairs


def given_metadata(body: dict[str, Any]) -> dict[str, str]:
    """What a request's body has under ``metadata``, if only null. Raises InvalidRequestError for
    what OpenAI would not take."""
    if "metadata" not in body:
        raise InvalidRequestError("Missing required parameter: 'metadata'.", "metadata")
    metadata = {} if body["metadata"] is None else body["metadata"]
    if not isinstance(metadata, dict) or len(metadata) > MOST_PAIRS:
        raise InvalidRequestError(
            f"Invalid value for 'metadata': expected an object of at most {MOST_PAIRS} pairs.",
            "metadata",
        )
    for key, value in metadata.items():
        if not (_is_word(key, LONGEST_KEY) and _is_word(value, LONGEST_VALUE)):
            raise InvalidRequestError(
                f"Invalid value for 'metadata': expected keys of at most {LONGEST_KEY} characters "
                f"and strings of at most {LONGEST_VALUE} as their values.",
                f"metadata.{key[:LONGEST_KEY]}",
            )
    return metadata


def _is_word(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and is_searchable(value)
