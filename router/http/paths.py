"""Requests for paths as clients happen to write them."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

API = "/v1"

_MOST_PARTS = 8
"""Of a path after that: no endpoint has as many, and a path may be as long as a caller likes."""


def usual(scope: Scope) -> Scope:
    """The same request as its endpoint knows it.

    A base URL that ends in a slash doubles it, and HEAD is a GET whose body the server leaves out
    (RFC 9110, section 9.3.2). A slash that is encoded is part of a name.
    """
    path, is_head = scope["path"], scope["method"] == "HEAD"
    if is_head or "//" in path or path.endswith("/"):
        method = "GET" if is_head else scope["method"]
        encoded = scope["raw_path"].decode("ascii")
        path = "/" + "/".join(unquote(part) for part in encoded.split("/") if part)
        return {**scope, "path": path, "method": method}
    return scope


def meant(path: str, routes: Sequence[BaseRoute]) -> str | None:
    """The path that somebody with a wrong base URL, such as one without ``/v1`` or with two of
    them, is likely to have meant; None if it ends like none of ``routes``."""
    parts = path.split("/")
    for start in range(max(1, len(parts) - _MOST_PARTS), len(parts)):
        likely = "/".join((API, *parts[start:]))
        asked = {"type": "http", "method": "GET", "path": likely, "headers": []}
        if any(route.matches(asked)[0] is not Match.NONE for route in routes):
            return likely
    return None
