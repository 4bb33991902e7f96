"""Checks of a request's parameters, in OpenAI's words where they fail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import orjson

from router.errors import InvalidRequestError


def expect(holds: bool, at: str, expected: str) -> None:
    """Raises InvalidRequestError, which names the parameter ``at``, unless ``holds``."""
    if not holds:
        raise invalid(at, expected)


def invalid(at: str, expected: str) -> InvalidRequestError:
    """The error for a parameter ``at`` that is not as ``expected``."""
    return InvalidRequestError(f"Invalid value for '{at}': expected {expected}.", at)


Checks = Mapping[str, tuple[Callable[[Any], bool], str]]
"""By the name of a parameter: what a value that is given has to fulfil, and that in words."""


def check_given(body: Mapping[str, Any], checks: Checks) -> None:
    """Raises InvalidRequestError, which names the parameter at fault. Null counts as not given."""
    for name, (fits, expected) in checks.items():
        value = body.get(name)
        expect(value is None or fits(value), name, expected)


def require(body: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raises InvalidRequestError, which names the first parameter that is missing."""
    for name in names:
        if body.get(name) is None:
            raise InvalidRequestError(f"Missing required parameter: '{name}'.", name)


def refuse_others(body: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises InvalidRequestError, which names the first parameter that is not ``known``."""
    for name in body:
        if name not in known:
            raise InvalidRequestError(f"Unknown parameter: '{name}'.", name)


def written(value: Any) -> bytes:
    """The JSON of what a caller sent. Raises InvalidRequestError: what is nested too deeply can be
    read, and not be written."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise nested_too_deeply() from error


def nested_too_deeply() -> InvalidRequestError:
    return InvalidRequestError("The body of the request is nested too deeply.")


def text_of(mapping: Mapping[str, Any], name: str, at: str) -> str:
    """The string that ``mapping``, which is the parameter ``at``, must have under ``name``."""
    value = mapping.get(name)
    path = f"{at}.{name}"
    if value is None:
        raise InvalidRequestError(f"Missing required parameter: '{path}'.", path)
    expect(is_text(value), path, "a string")
    return value


def is_text(value: Any) -> bool:
    return isinstance(value, str)


LONGEST_NAME = 200
"""Characters: indexes of PostgreSQL take no more than 2,704 bytes of a row."""

A_NAME = f"a string of at most {LONGEST_NAME} characters"


def is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_NAME


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def is_labels(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
