"""Stored completions: chat completions of the exchange store, as OpenAI's API shows them.

A completion is stored unless its request said ``store: false``. Its id is the one that its caller
saw; deleting it removes every text, while what it cost stays in the books.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from router.api.metadata import given_metadata, wanted_metadata
from router.api.wire import (
    Paging,
    answered,
    listing,
    object_of,
    owner_of,
    page_of,
    paging,
    text_of,
)
from router.errors import NotFoundError
from router.lookup import exchange_of
from telemetry.exchange import Exchange
from telemetry.store import Place, Store, StoredPage

_PATH = "/v1/chat/completions"

# Parameters of the request that the stored completion repeats.
_REPEATED = (
    "frequency_penalty",
    "presence_penalty",
    "response_format",
    "seed",
    "service_tier",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
)


def add_stored(app: FastAPI, store: Store) -> None:
    """List, show, annotate and delete stored completions."""

    async def find(identifier: str, owner: str | None) -> Exchange:
        return await exchange_of(partial(store.stored, identifier, owner), identifier)

    @app.get(_PATH)
    async def list_stored(request: Request) -> Response:
        asked = paging(request.query_params)
        owner = owner_of(request)
        after = await _place(store, asked, owner)
        page = StoredPage(
            limit=asked.limit + 1,
            newest_first=asked.newest_first,
            after=after,
            model=text_of(request.query_params, "model"),
            metadata=wanted_metadata(request.query_params),
        )
        found = await asyncio.to_thread(store.stored_page, page, owner)
        return listing([completion(exchange) for exchange in found], asked.limit)

    @app.get(_PATH + "/{identifier}")
    async def get_stored(request: Request, identifier: str) -> Response:
        return answered(completion(await find(identifier, owner_of(request))))

    @app.get(_PATH + "/{identifier}/messages")
    async def list_messages(request: Request, identifier: str) -> Response:
        asked = paging(request.query_params)
        return page_of(messages(await find(identifier, owner_of(request))), asked)

    @app.post(_PATH + "/{identifier}")
    async def annotate_stored(request: Request, identifier: str) -> Response:
        metadata = given_metadata(await object_of(request))
        exchange = await find(identifier, owner_of(request))
        await asyncio.to_thread(store.annotate, exchange.id, orjson.dumps(metadata).decode())
        return answered({**completion(exchange), "metadata": metadata})

    @app.delete(_PATH + "/{identifier}")
    async def delete_stored(request: Request, identifier: str) -> Response:
        exchange = await find(identifier, owner_of(request))
        await asyncio.to_thread(store.forget, exchange.id)
        return answered({"object": "chat.completion.deleted", "id": identifier, "deleted": True})


def completion(exchange: Exchange) -> dict[str, Any]:
    """The ``chat.completion`` of a stored exchange, with what OpenAI adds to a stored one."""
    request = _request(exchange)
    return {
        "id": exchange.completion_id,
        "object": "chat.completion",
        "created": int(exchange.created),
        "model": exchange.model,
        "request_id": exchange.id,
        "choices": _choices(exchange, shows_logprobs=bool(request.get("logprobs"))),
        "usage": {
            "prompt_tokens": exchange.prompt_tokens,
            "completion_tokens": exchange.completion_tokens,
            "total_tokens": exchange.prompt_tokens + exchange.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": exchange.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": exchange.reasoning_tokens},
        },
        "metadata": orjson.loads(exchange.metadata or "{}"),
        "input_user": request.get("user"),
        "system_fingerprint": None,
        **{name: request.get(name) for name in _REPEATED},
    }


def messages(exchange: Exchange) -> list[dict[str, Any]]:
    """The messages of a stored exchange's request, each with an id."""
    return [
        {
            "name": None,
            **message,
            "id": f"{exchange.completion_id}-{index}",
            **_content(message.get("content")),
        }
        for index, message in enumerate(_request(exchange)["messages"])
    ]


def _request(exchange: Exchange) -> dict[str, Any]:
    return orjson.loads(exchange.request or "{}")


def _choices(exchange: Exchange, *, shows_logprobs: bool) -> list[dict[str, Any]]:
    if exchange.choices is None:
        message = {"role": "assistant", "content": exchange.answer, "refusal": None}
        finish_reason = exchange.finish_reason
        return [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}]
    choices: list[dict[str, Any]] = orjson.loads(exchange.choices)
    if not shows_logprobs:
        # They may have been asked for on the operator's behalf alone.
        choices = [{**choice, "logprobs": None} for choice in choices]
    return choices


def _content(content: Any) -> dict[str, Any]:
    if not isinstance(content, list):
        return {"content": content, "content_parts": None}
    shown = [part for part in content if part.get("type") in ("text", "image_url")]
    return {"content": None, "content_parts": shown}


async def _place(store: Store, asked: Paging, owner: str | None) -> Place | None:
    """Where the page begins. Raises NotFoundError."""
    if asked.after is None:
        return None
    look = partial(store.place, asked.after, newest_first=asked.newest_first, owner=owner)
    place = await asyncio.to_thread(look)
    if place is None:
        raise NotFoundError(f"No stored completion has the id '{asked.after}'.", "after")
    return place
