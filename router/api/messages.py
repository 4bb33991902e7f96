"""``POST /v1/messages/count_tokens``: how many tokens a request to the Messages API would have."""

from __future__ import annotations

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from policies.scores import Ask, Scores
from policies.tasks import read_prompt
from router.api.wire import answered, object_of
from router.dialects.messages.request import chat_prompt
from router.dialects.messages.schema import Prompt, check
from router.models import Model, Models
from router.terms import read_terms

MEDIA_TOKENS = 1600
"""Of an image that fills what Claude sees, by Anthropic's account; a document is taken for one."""


def add_token_counts(app: FastAPI, models: Models, scores: Scores) -> None:
    """Count tokens. It is an estimate: each model cuts text in its own way, so what counts is how
    many tokens a character of the task had in the answers seen so far."""

    @app.post("/v1/messages/count_tokens")
    async def count_tokens(request: Request) -> Response:
        body = chat_prompt(check(Prompt, await object_of(request)))
        target = models.find(body["model"])
        model = target if isinstance(target, Model) else models.teacher
        task = read_prompt(body, read_terms(request.scope["headers"]).task).task
        media = [
            orjson.dumps(part)
            for message in body["messages"]
            for part in message["content"] or ()
            if isinstance(part, dict) and part["type"] != "text"
        ]
        characters = len(orjson.dumps(body).decode()) - sum(len(part.decode()) for part in media)
        tokens = scores.usage(Ask(task, characters), model.upstream.model).prompt_tokens
        return answered({"input_tokens": max(tokens, 1) + MEDIA_TOKENS * len(media)})
