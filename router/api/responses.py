"""``/v1/responses/{id}``: responses that have been given, shown from the exchange store.

A response is stored unless its request said ``store: false``. Deleting it removes every text, while
what it cost stays in the books.
"""

from __future__ import annotations

import asyncio
from functools import partial

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from router.api.wire import answered, owner_of, page_of, paging
from router.dialects.responses import record
from router.dialects.responses.references import resolve
from router.errors import InvalidRequestError, NotFoundError
from router.lookup import exchange_of
from telemetry.exchange import Exchange
from telemetry.store import Store

_PATH = "/v1/responses/{identifier}"


def add_responses(app: FastAPI, store: Store) -> None:
    """Show and delete responses, and list what they answer."""

    async def find(request: Request, identifier: str) -> Exchange:
        look = partial(record.find, store, identifier, owner_of(request))
        try:
            return await exchange_of(look, identifier)
        except NotFoundError as error:
            raise NotFoundError(f"Response with id '{identifier}' not found.") from error

    @app.get(_PATH)
    async def get_response(request: Request, identifier: str) -> Response:
        if request.query_params.get("stream") == "true":
            raise InvalidRequestError("A stored response cannot be streamed.", "stream")
        return answered(record.response(await find(request, identifier)))

    @app.delete(_PATH)
    async def delete_response(request: Request, identifier: str) -> Response:
        exchange = await find(request, identifier)
        await asyncio.to_thread(store.forget, exchange.id)
        return answered({"id": identifier, "object": "response", "deleted": True})

    @app.get(_PATH + "/input_items")
    async def list_input_items(request: Request, identifier: str) -> Response:
        asked = paging(request.query_params, "desc")
        exchange = await find(request, identifier)
        said = await resolve(store, record.said(exchange), owner_of(request))
        return page_of(record.shown(exchange, said), asked)

    @app.post(_PATH + "/cancel")
    async def cancel_response(request: Request, identifier: str) -> Response:
        await find(request, identifier)
        raise InvalidRequestError("Cannot cancel a synchronous response.")
