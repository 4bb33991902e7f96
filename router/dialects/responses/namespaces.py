"""Functions in namespaces. Chat completions have none: there such functions have longer names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from router.checks import expect, is_text, text_of

Named = Mapping[str, str]
"""``name`` of a function, and its ``namespace`` if it is in one."""

_LONGEST = 64
"""Characters of a function's name, by OpenAI's account."""
_DIGITS = 8


def name_of(said: Mapping[str, Any], at: str) -> str:
    """The name in a chat completion of the function that ``said``, the parameter ``at``, names.

    Raises InvalidRequestError.
    """
    name, namespace = text_of(said, "name", at), said.get("namespace")
    expect(namespace is None or is_text(namespace), f"{at}.namespace", "a string")
    return name if namespace is None else _long(namespace, name)


def names_of(sent: Mapping[str, Any]) -> Mapping[str, Named]:
    """How a request calls the functions of its namespaces, by their long names."""
    return {
        _long(space["name"], tool["name"]): {"name": tool["name"], "namespace": space["name"]}
        for space in sent.get("tools") or ()
        if space["type"] == "namespace"
        for tool in space["tools"]
    }


def _long(namespace: str, name: str) -> str:
    whole = f"{namespace}__{name}"
    if len(whole) <= _LONGEST:
        return whole
    return whole[: _LONGEST - _DIGITS] + hashlib.sha256(whole.encode()).hexdigest()[:_DIGITS]
