"""A stored exchange as the response that it was, and as what was said before the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from router.dialects.responses import output
from router.dialects.responses.items import Message, messages_of, type_of
from router.dialects.responses.namespaces import names_of
from router.dialects.responses.output import Ids, Item, exchange_of
from router.dialects.responses.request import wants_logprobs
from router.dialects.responses.response import Outcome, Outline, Status, render, status_of
from telemetry.exchange import Exchange
from telemetry.store import Store


def find(store: Store, identifier: str, owner: str | None) -> Exchange | None:
    """The exchange in which a response was given; None where none is stored under this id.

    ``owner`` is the id of the key whose exchanges alone are looked at; None looks at all. Blocks.
    """
    exchange_id = exchange_of(identifier)
    exchange = store.named(exchange_id, owner) if exchange_id else None
    if exchange is None or exchange.dialect != "responses":
        return None
    return exchange if exchange.status == 200 and exchange.original is not None else None


def find_finished(store: Store, identifier: str, owner: str | None) -> Exchange | None:
    """As ``find``; None for a response that never came to its end as well."""
    exchange = find(store, identifier, owner)
    return exchange if exchange and exchange.finish_reason is not None else None


def response(exchange: Exchange) -> dict[str, Any]:
    """The response object. Of the tokens used, only the totals are stored."""
    sent = _sent(exchange)
    ids = Ids(exchange.id)
    is_over = exchange.finish_reason is not None
    outcome = Outcome(
        status=status_of(exchange.finish_reason) if is_over else _broken(exchange),
        model=exchange.model,
        output=output.items_of(
            ids, _choice(exchange), names_of(sent), logprobs=wants_logprobs(sent)
        ),
        usage={
            "prompt_tokens": exchange.prompt_tokens,
            "completion_tokens": exchange.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": exchange.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": exchange.reasoning_tokens},
        },
        finish_reason=exchange.finish_reason,
        completed=exchange.created + exchange.latency_s,
        error=f"The answer broke off: {exchange.error}." if exchange.error else None,
    )
    return render(Outline(exchange.id, exchange.created, sent), outcome)


def conversation(exchange: Exchange) -> list[Message]:
    """All that was said until a response and in it, but for the instructions, which are those of
    one request alone."""
    messages = orjson.loads(exchange.request or "{}")["messages"]
    if _sent(exchange).get("instructions"):
        messages = messages[1:]
    answer = output.items_of(Ids(exchange.id), _choice(exchange), {}, logprobs=False)
    return [*messages, *messages_of(answer)]


def said(exchange: Exchange) -> list[Item]:
    """The items of one request's input, oldest first, as they were sent; what came before them is
    not part of it."""
    items = _sent(exchange).get("input") or []
    return [{"role": "user", "content": items}] if isinstance(items, str) else items


def shown(exchange: Exchange, items: Sequence[Item]) -> list[Item]:
    """The input ``items`` of a request as OpenAI lists them, each with an id."""
    ids = Ids(exchange.id)
    return [_shown(item, ids.input(type_of(item), index)) for index, item in enumerate(items)]


def _shown(item: Mapping[str, Any], identifier: str) -> Item:
    kind = type_of(item)
    # A null says no more than leaving it out, and clients send many.
    given = {name: value for name, value in item.items() if value is not None}
    shown = {"id": identifier, "status": "completed", **given, "type": kind}
    if kind == "message" and isinstance(item["content"], str):
        is_answer = item["role"] == "assistant"
        text = {"type": "input_text", "text": item["content"]}
        shown["content"] = [output.text_part(item["content"]) if is_answer else text]
    if kind == "reasoning":
        del shown["status"]
    return shown


def _sent(exchange: Exchange) -> dict[str, Any]:
    return orjson.loads(exchange.original or "{}")


def _choice(exchange: Exchange) -> dict[str, Any]:
    if exchange.choices is not None:
        return orjson.loads(exchange.choices)[0]
    return {"message": {"content": exchange.answer}, "finish_reason": exchange.finish_reason}


def _broken(exchange: Exchange) -> Status:
    """Of a response that never came to its end."""
    return "failed" if exchange.error else "cancelled"
