"""``POST /v1/feedback``: what people and programs thought of an answer.

A right answer outranks the teacher's as training data, and a teacher's answer with a score below
0.5 is not trained on. Of a score and a right answer, what was said last counts.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from router.api.wire import answered, object_of, owner_of
from router.checks import expect, is_number, is_text, refuse_others, require
from router.errors import InvalidRequestError
from router.lookup import exchange_of, is_searchable
from telemetry.exchange import Exchange
from telemetry.metrics import Metrics
from telemetry.store import Store

_THUMBS = {"up": 1.0, "down": 0.0}
_KNOWN = ("exchange", "score", "thumb", "answer", "comment")

# Ids that are made from an exchange's: of responses, messages and completions.
_DERIVED = re.compile(r"[a-z]+[_-](?:req_)?([0-9a-f]{32})")


def add_feedback(app: FastAPI, store: Store, metrics: Metrics) -> None:
    """Keep what is said of an exchange, as ``Store.judge`` does where something was said before."""

    @app.post("/v1/feedback")
    async def give(request: Request) -> Response:
        body = await object_of(request)
        identifier, opinion = _identifier(body), opinion_in(body)
        owner = owner_of(request)

        def look() -> Exchange | None:
            derived = _DERIVED.fullmatch(identifier)
            own = store.named(f"req_{derived[1]}", owner) if derived else None
            return own or store.named(identifier, owner)

        exchange = await exchange_of(look, identifier)
        await keep(store, metrics, exchange, opinion)
        judged = await exchange_of(lambda: store.exchange(exchange.id), exchange.id)
        return answered(
            {
                "object": "protege.feedback",
                "exchange": judged.id,
                "score": judged.score,
                "answer": judged.right_answer,
                "comment": judged.comment,
            }
        )


async def keep(
    store: Store, metrics: Metrics, exchange: Exchange, opinion: dict[str, float | str]
) -> None:
    """Keep what was thought of an exchange. Raises InvalidRequestError."""
    if exchange.request is None and not opinion.keys() <= {"score"}:
        raise InvalidRequestError(
            "No text of this exchange is kept, so only a score can be.", "exchange"
        )
    await asyncio.to_thread(store.judge, exchange.id, opinion)
    metrics.feedback(exchange.task, _verdict(opinion))


def _identifier(body: dict[str, Any]) -> str:
    refuse_others(body, _KNOWN)
    require(body, ("exchange",))
    return _text(body, "exchange")


def opinion_in(body: dict[str, Any]) -> dict[str, float | str]:
    """What is said, by column. Raises InvalidRequestError."""
    opinion: dict[str, float | str] = {}
    score, thumb = body.get("score"), body.get("thumb")
    if score is not None and thumb is not None:
        raise InvalidRequestError("Give either 'score' or 'thumb', not both.", "thumb")
    if score is not None:
        expect(is_number(score) and 0 <= score <= 1, "score", "a number from 0 to 1")
        opinion["score"] = float(score)
    if thumb is not None:
        expect(thumb in ("up", "down"), "thumb", "'up' or 'down'")
        opinion["score"] = _THUMBS[thumb]
    if body.get("answer") is not None:
        opinion["right_answer"] = _text(body, "answer")
    if body.get("comment") is not None:
        opinion["comment"] = _text(body, "comment")
    if not opinion:
        raise InvalidRequestError("Give one of 'score', 'thumb', 'answer' and 'comment'.")
    return opinion


def _text(body: dict[str, Any], name: str) -> str:
    value = body[name]
    said = is_text(value) and bool(value.strip()) and is_searchable(value)
    expect(said, name, "a string that is not empty")
    return value


def _verdict(opinion: dict[str, float | str]) -> str:
    if "right_answer" in opinion:
        return "corrected"
    if "score" not in opinion:
        return "comment"
    return "good" if float(opinion["score"]) >= 0.5 else "bad"
