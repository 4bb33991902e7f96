"""Exchanges: found, shown one by one with the decision explained, and judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import orjson
from starlette.datastructures import FormData
from starlette.responses import Response

from router.api.feedback import keep, opinion_in
from router.console.page import Page, link
from router.console.period import CHOICES, Period
from router.errors import NotFoundError
from router.whatif.explained import Explained
from telemetry.exchange import Exchange, Route
from telemetry.search import READ, Outcome, Wanted, find
from telemetry.store import Place

_ON_A_PAGE = 50
_FIELDS = ("task", "route", "outcome", "key", "text", "period")

OUTCOMES = {
    "agreed": "audited: the teacher agrees",
    "disagreed": "audited: the teacher disagrees",
    "failed": "failed",
    "judged": "judged by a person",
}


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a conversation."""

    role: str
    text: str


async def show_all(page: Page) -> Response:
    asked = {name: page.asked(name) for name in _FIELDS} | {"task": page.exactly("task")}
    period = Period.of(asked["period"])
    wanted = Wanted(
        since=period.since,
        task=asked["task"] or None,
        route=_one_of(Route, asked["route"]),
        outcome=_one_of(Outcome, asked["outcome"]),
        key=asked["key"] or None,
        text=asked["text"] or None,
        before=_place(page.asked("before")),
        limit=_ON_A_PAGE + 1,
    )
    found = await asyncio.to_thread(find, page.parts.store.engine, wanted)
    shown = found[:_ON_A_PAGE]
    older = None
    if len(found) > len(shown):
        older = link("/exchanges", **asked, before=f"{shown[-1].created!r},{shown[-1].id}")
    return page.render(
        "exchanges.html",
        asked=asked,
        period=period,
        choices=CHOICES,
        outcomes=OUTCOMES,
        exchanges=shown,
        texts={each.id: question(each) for each in shown},
        older=older,
        read=READ,
    )


async def show_one(page: Page) -> Response:
    explained = await asyncio.to_thread(Explained.find, page.parts.store, page.asked("id"))
    if explained is None:
        raise NotFoundError("There is no such exchange.")
    exchange = explained.exchange
    return page.render(
        "exchange.html",
        exchange=exchange,
        explained=explained,
        messages=conversation(exchange),
        question=question(exchange),
    )


async def give_feedback(page: Page, form: FormData) -> Response:
    identifier = str(form.get("id", ""))
    exchange = await asyncio.to_thread(page.parts.store.exchange, identifier)
    if exchange is None:
        raise NotFoundError("There is no such exchange.")
    said = {name: str(form.get(name, "")).strip() for name in ("thumb", "answer", "comment")}
    opinion = opinion_in({name: text for name, text in said.items() if text})
    await keep(page.parts.store, page.parts.metrics, exchange, opinion)
    return page.back("/exchange", "feedback", id=exchange.id)


def question(exchange: Exchange) -> str:
    """What the caller asked last; empty where no text is kept."""
    asked = [said.text for said in conversation(exchange) if said.role == "user"]
    return asked[-1] if asked else ""


def conversation(exchange: Exchange) -> list[Said]:
    """The messages of a request as far as they are text."""
    text = exchange.request or exchange.original
    if text is None:
        return []
    body = orjson.loads(text)
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list):
        # An embedding's, which is no conversation.
        return [Said("user", text)]
    return [_said(message) for message in messages if isinstance(message, dict)]


def _said(message: Mapping[str, Any]) -> Said:
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "\n".join(part if isinstance(part, str) else "(not text)" for part in parts)
    if not isinstance(content, str):
        calls = message.get("tool_calls")
        content = orjson.dumps(calls, option=orjson.OPT_INDENT_2).decode() if calls else ""
    return Said(str(message.get("role", "")), content)


def _one_of(choices: Any, said: str) -> Any:
    """``said`` if it is one of the values of a Literal, else None."""
    return said if said in get_args(choices) else None


def _place(said: str) -> Place | None:
    created, _, identifier = said.partition(",")
    try:
        return float(created), identifier
    except ValueError:
        return None


def newest(task: str, outcome: Outcome | None, limit: int, days: float = 90.0) -> Wanted:
    """The last exchanges of a task."""
    return Wanted(since=time.time() - days * 86400, task=task, outcome=outcome, limit=limit)
