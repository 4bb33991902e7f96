"""``openai``'s clients with a Protege server as their default, and with what only Protege has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import openai

from protege import scope
from protege.fallback import Fallback, mark
from protege.feedback import Feedback, Thumb, opinion
from protege.provenance import attached
from protege.tasks import AsyncTasks, Tasks

if TYPE_CHECKING:
    from typing import Self

    import httpx2
    from typing_extensions import Unpack

    from protege.options import AsyncClientOptions, ClientOptions
    from protege.resources import AsyncChat, AsyncResponses, Chat, Responses

BASE_URL_VARIABLE = "PROTEGE_BASE_URL"
DEFAULT_BASE_URL = "http://127.0.0.1:8080/v1"


class OpenAI(openai.OpenAI):
    """``openai.OpenAI``, by default at ``PROTEGE_BASE_URL``, else at a server on this machine.

    While that server cannot be reached, calls that ask a model go to the provider instead: to
    ``fallback_base_url`` (``PROTEGE_FALLBACK_BASE_URL``, else OpenAI) with ``fallback_api_key``
    (``PROTEGE_FALLBACK_API_KEY``, else the key of the call unless it is one of Protege's), and to
    ``fallback_model`` (``PROTEGE_FALLBACK_MODEL``) where they leave the model to Protege. With an
    empty ``fallback_base_url`` they fail.
    """

    _fallback: Fallback

    def __init__(self, **options: Unpack[ClientOptions]) -> None:
        self._fallback = _take_fallback(options)
        super().__init__(**_located(options))

    @cached_property
    def chat(self) -> Chat:
        from protege.resources import Chat

        return Chat(self)

    @cached_property
    def responses(self) -> Responses:
        from protege.resources import Responses

        return Responses(self)

    @cached_property
    def tasks(self) -> Tasks:
        return Tasks(self)

    def task(
        self,
        name: str,
        *,
        bound: float | None = None,
        deadline: float | None = None,
        budget: float | Decimal | None = None,
    ) -> Self:
        """A client whose requests belong to the task ``name``, within limits for each of them.

        ``bound`` is the share of students' answers that may disagree with the teacher's,
        ``deadline`` is in seconds and ``budget`` in USD. The client shares this one's connections.
        """
        return self.copy(default_headers=scope.headers(name, bound, deadline, budget))

    def feedback(
        self,
        about: object,
        *,
        score: float | None = None,
        thumb: Thumb | None = None,
        answer: str | None = None,
        comment: str | None = None,
    ) -> Feedback:
        """Say how good an answer was: ``score`` from 0 to 1, ``thumb``, or the right ``answer``.

        ``about`` is what a call has returned, or the id of its exchange. Raises ValueError if the
        answer came straight from the provider.
        """
        body = opinion(about, score, thumb, answer, comment)
        return self.post("/feedback", cast_to=Feedback, body=body)

    def _send_request(
        self, request: httpx2.Request, *, stream: bool, **options: Any
    ) -> httpx2.Response:
        router = str(self.base_url)
        direct = self._fallback.during_outage(request, router)
        if direct is None:
            try:
                return super()._send_request(request, stream=stream, **options)
            except Exception as error:
                direct = self._fallback.after(error, request, router)
                if direct is None:
                    raise
        return mark(super()._send_request(direct, stream=stream, **options))

    # Type checkers are to see openai's own signatures.
    if not TYPE_CHECKING:

        def copy(self, **changes: Any) -> OpenAI:
            copied = super().copy(**changes)
            copied._fallback = self._fallback
            return copied

        with_options = copy

        def _process_response(self, *, options: Any, response: Any, **more: Any) -> Any:
            options.post_parser = attached(options.post_parser, response.headers)
            return super()._process_response(options=options, response=response, **more)


class AsyncOpenAI(openai.AsyncOpenAI):
    """``openai.AsyncOpenAI`` in the way that ``OpenAI`` is ``openai.OpenAI``."""

    _fallback: Fallback

    def __init__(self, **options: Unpack[AsyncClientOptions]) -> None:
        self._fallback = _take_fallback(options)
        super().__init__(**_located(options))

    @cached_property
    def chat(self) -> AsyncChat:
        from protege.resources import AsyncChat

        return AsyncChat(self)

    @cached_property
    def responses(self) -> AsyncResponses:
        from protege.resources import AsyncResponses

        return AsyncResponses(self)

    @cached_property
    def tasks(self) -> AsyncTasks:
        return AsyncTasks(self)

    def task(
        self,
        name: str,
        *,
        bound: float | None = None,
        deadline: float | None = None,
        budget: float | Decimal | None = None,
    ) -> Self:
        """``OpenAI.task``."""
        return self.copy(default_headers=scope.headers(name, bound, deadline, budget))

    async def feedback(
        self,
        about: object,
        *,
        score: float | None = None,
        thumb: Thumb | None = None,
        answer: str | None = None,
        comment: str | None = None,
    ) -> Feedback:
        """``OpenAI.feedback``."""
        body = opinion(about, score, thumb, answer, comment)
        return await self.post("/feedback", cast_to=Feedback, body=body)

    async def _send_request(
        self, request: httpx2.Request, *, stream: bool, **options: Any
    ) -> httpx2.Response:
        router = str(self.base_url)
        direct = self._fallback.during_outage(request, router)
        if direct is None:
            try:
                return await super()._send_request(request, stream=stream, **options)
            except Exception as error:
                direct = self._fallback.after(error, request, router)
                if direct is None:
                    raise
        return mark(await super()._send_request(direct, stream=stream, **options))

    # Type checkers are to see openai's own signatures.
    if not TYPE_CHECKING:

        def copy(self, **changes: Any) -> AsyncOpenAI:
            copied = super().copy(**changes)
            copied._fallback = self._fallback
            return copied

        with_options = copy

        async def _process_response(self, *, options: Any, response: Any, **more: Any) -> Any:
            options.post_parser = attached(options.post_parser, response.headers)
            return await super()._process_response(options=options, response=response, **more)


def _take_fallback(options: Any) -> Fallback:
    """Take what the fallback is to know out of the constructor's ``options``."""
    names = ("fallback_base_url", "fallback_api_key", "fallback_model")
    return Fallback(*(options.pop(name, None) for name in names))


def _located(options: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's ``options``, with a base URL where they do not say where to go."""
    elsewhere = ("base_url", "provider", "data_residency")
    if any(options.get(name) is not None for name in elsewhere):
        return dict(options)
    return {**options, "base_url": os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL}
