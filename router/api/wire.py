"""What these endpoints read from requests and how they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from router.endpoint import read_body
from router.errors import InvalidRequestError, NotFoundError, ProtegeError, Rendered, render
from router.http.hangup import CallerGoneError
from router.lookup import is_searchable
from router.reply import header_value
from router.request import read_object
from router.turn import Arrival

_NONE: Mapping[str, str] = {}

MOST_LISTED = 100
"""Items of one page of a list."""


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of a list is asked for, as in all of OpenAI's lists."""

    limit: int
    newest_first: bool
    after: str | None
    """Id of the last item of the page before."""


def paging(query: QueryParams, order: str = "asc") -> Paging:
    """``after``, ``limit`` and ``order``, if the caller says none this one. Raises
    InvalidRequestError."""
    order = text_of(query, "order") or order
    if order not in ("asc", "desc"):
        raise InvalidRequestError("Invalid value for 'order': expected 'asc' or 'desc'.", "order")
    return Paging(limit_of(query), order == "desc", text_of(query, "after"))


def limit_of(query: QueryParams) -> int:
    """How many items a page may have. Raises InvalidRequestError."""
    limit = query.get("limit", "20")
    # Neither Python nor a database reads a number of any length.
    is_short = limit.isascii() and limit.isdecimal() and len(limit) < 10
    if not (is_short and 1 <= int(limit) <= MOST_LISTED):
        raise InvalidRequestError(
            f"Invalid value for 'limit': expected an integer from 1 to {MOST_LISTED}.", "limit"
        )
    return int(limit)


def text_of(query: QueryParams, name: str) -> str | None:
    """A query parameter. Raises InvalidRequestError."""
    value = query.get(name)
    if value is not None and not is_searchable(value):
        raise InvalidRequestError(f"Invalid value for '{name}': it has a null character.", name)
    return value


async def object_of(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises InvalidRequestError, or as `body_of`."""
    return read_object(await body_of(request))


async def body_of(request: Request) -> bytes:
    """The body, to be read once. Raises InvalidRequestError, BodyTimeoutError or
    BodyTooLargeError."""
    try:
        return await read_body(request.receive, request.app.state.largest_body)
    except CallerGoneError as error:
        raise InvalidRequestError("The request was never complete.") from error


def owner_of(request: Request) -> str | None:
    """Id of the key whose exchanges alone exist for the caller; None if all do."""
    key = request.scope.get("key")
    return None if key is None or key.admin else key.id


def answered(content: dict[str, Any]) -> Response:
    """``content`` as JSON."""
    return passed(orjson.dumps(content), Arrival(None).id)


def passed(content: bytes, identifier: str, headers: Mapping[str, str] = _NONE) -> Response:
    """JSON as it is, under the id of its request."""
    return _response(Rendered(200, content), identifier, headers)


def refused(error: ProtegeError, identifier: str, headers: Mapping[str, str] = _NONE) -> Response:
    """``error`` in OpenAI's shape."""
    return _response(render(error), identifier, headers)


def listing(items: list[dict[str, Any]], limit: int) -> Response:
    """One page of a list: the first ``limit`` of ``items``. Whoever asks the store for one more
    than that is told whether there are more."""
    page = items[:limit]
    return answered(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(items) > limit,
        }
    )


def page_of(items: list[dict[str, Any]], asked: Paging) -> Response:
    """The page that was asked for of ``items``, oldest first. Raises NotFoundError."""
    items = items[::-1] if asked.newest_first else items
    start = 0
    if asked.after is not None:
        ids = [item["id"] for item in items]
        if asked.after not in ids:
            raise NotFoundError(f"Nothing in this list has the id '{asked.after}'.", "after")
        start = ids.index(asked.after) + 1
    return listing(items[start:], asked.limit)


def _response(rendered: Rendered, identifier: str, headers: Mapping[str, str]) -> Response:
    response = Response(rendered.content, rendered.status, media_type="application/json")
    for name, value in {**rendered.headers, **headers, "x-request-id": identifier}.items():
        response.raw_headers.append((name.encode(), header_value(value)))
    return response
