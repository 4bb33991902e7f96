"""Items that a request does not say again but refers to by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from router.dialects.responses import record
from router.dialects.responses.items import type_of
from router.dialects.responses.output import Item, response_of
from router.errors import NotFoundError
from router.lookup import exchange_of
from telemetry.store import Store


async def resolve(store: Store, items: Sequence[Any], owner: str | None) -> list[Any]:
    """``items`` with what they refer to in the place of references: items of earlier responses and
    of their input. Raises NotFoundError.

    ``owner`` is the id of the key whose exchanges alone are looked at; None looks at all.
    """
    known: dict[str, dict[str, Item]] = {}
    resolved = []
    for item in items:
        identifier = item.get("id") if _is_reference(item) else None
        if not isinstance(identifier, str):
            resolved.append(item)
            continue
        response_id = response_of(identifier)
        if response_id and response_id not in known:
            known[response_id] = await _items_of(store, response_id, owner)
        found = known.get(response_id or "", {}).get(identifier)
        if found is None:
            raise NotFoundError(
                f"Item with id '{identifier}' not found. Items are not persisted when `store` is "
                "set to false.",
                "input",
            )
        resolved.append(found)
    return resolved


async def _items_of(store: Store, response_id: str, owner: str | None) -> dict[str, Item]:
    """The items of a response and of its input by their ids; none where it is not stored."""
    look = partial(record.find_finished, store, response_id, owner)
    try:
        exchange = await exchange_of(look, response_id)
    except NotFoundError:
        return {}
    items = [*record.shown(exchange, record.said(exchange)), *record.response(exchange)["output"]]
    return {item["id"]: item for item in items}


def _is_reference(item: Any) -> bool:
    return isinstance(item, dict) and type_of(item) == "item_reference"
