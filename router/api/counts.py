"""How many tokens a request would have, of the Messages API and of the Responses API.

They are estimates: each model cuts text in its own way, so what counts is how many tokens a
character of the task had in the answers seen so far.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from policies.scores import Ask, Scores
from router.api.wire import answered, body_of, object_of
from router.checks import written
from router.dialects.messages.request import chat_prompt
from router.dialects.messages.schema import Prompt, check
from router.dialects.responses.dialect import ResponsesDialect
from router.keys.access import check_access
from router.models import Model, Models
from router.request import prompt_of
from router.students.named import check_task, with_task
from router.students.serving import Students
from router.terms import read_terms
from router.turn import Arrival

MEDIA_TOKENS = 1600
"""Of an image that fills what Claude sees, by Anthropic's account; a document is taken for one."""


def add_token_counts(
    app: FastAPI,
    models: Models,
    students: Students,
    scores: Scores,
    responses: ResponsesDialect,
) -> None:
    """Count the tokens of a message's request and of a response's."""

    def tokens_of(request: Request, body: dict[str, Any]) -> int:
        """Of a chat completion request."""
        student = students.named(body["model"])
        terms = with_task(read_terms(request.scope["headers"]), student)
        task = prompt_of(body, terms).task
        check_access(request.scope.get("key"), body["model"], task)
        check_task(student, task)
        target = student or models.find(body["model"])
        model = target if isinstance(target, Model) else models.teacher
        media = [
            written(part)
            for message in body["messages"]
            for part in message["content"] or ()
            if isinstance(part, dict) and part["type"] != "text"
        ]
        characters = len(written(body).decode()) - sum(len(part.decode()) for part in media)
        tokens = scores.usage(Ask(task, characters), model.upstream.model).prompt_tokens
        return max(tokens, 1) + MEDIA_TOKENS * len(media)

    @app.post("/v1/messages/count_tokens")
    async def count_message(request: Request) -> Response:
        body = chat_prompt(check(Prompt, await object_of(request)))
        return answered({"input_tokens": tokens_of(request, body)})

    @app.post("/v1/responses/input_tokens")
    async def count_response(request: Request) -> Response:
        key = Arrival.of(request.scope).key_id
        body = await responses.read(await body_of(request), key)
        tokens = tokens_of(request, body)
        return answered({"object": "response.input_tokens", "input_tokens": tokens})
