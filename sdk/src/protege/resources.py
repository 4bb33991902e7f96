"""``openai``'s chat completions and responses, with limits for a single call.

``bound`` is the share of students' answers that may disagree with the teacher's, ``deadline`` is in
seconds and ``budget`` in USD.
"""

# openai's signatures are too long to write down again: to a type checker, these are narrower.
# mypy: disable-error-code="override"

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from openai.resources import chat, responses
from openai.resources.chat import completions

from protege.scope import limited
from protege.streaming import told

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from typing import Required

    import httpx2
    from openai import AsyncStream, NotGiven, Omit, Stream
    from openai.lib.streaming.chat import (
        AsyncChatCompletionStreamManager,
        ChatCompletionStreamManager,
    )
    from openai.lib.streaming.responses import AsyncResponseStreamManager, ResponseStreamManager
    from openai.types.chat import ChatCompletion, ChatCompletionChunk, ParsedChatCompletion
    from openai.types.chat import completion_create_params as chat_params
    from openai.types.responses import ParsedResponse, Response, ResponseStreamEvent
    from openai.types.responses import response_create_params as response_params
    from typing_extensions import TypedDict, TypeVar, Unpack

    # Where no format is given, as in openai.
    T = TypeVar("T", default=None)

    class _Call(TypedDict, total=False):
        """What any call may say beside its body."""

        bound: float | None
        deadline: float | None
        budget: float | Decimal | None
        extra_headers: Mapping[str, str | Omit] | None
        extra_query: Mapping[str, object] | None
        extra_body: object | None
        timeout: float | httpx2.Timeout | NotGiven | None

    class _Chat(chat_params.CompletionCreateParamsNonStreaming, _Call, total=False): ...

    class _ChatStream(chat_params.CompletionCreateParamsStreaming, _Call, total=False): ...

    class _ChatEither(chat_params.CompletionCreateParamsBase, _Call, total=False):
        stream: Required[bool]

    class _Response(response_params.ResponseCreateParamsNonStreaming, _Call, total=False): ...

    class _ResponseStream(response_params.ResponseCreateParamsStreaming, _Call, total=False): ...

    class _ResponseEither(response_params.ResponseCreateParamsBase, _Call, total=False):
        stream: Required[bool]


class Completions(completions.Completions):
    if TYPE_CHECKING:

        @overload
        def create(self, **options: Unpack[_Chat]) -> ChatCompletion: ...
        @overload
        def create(self, **options: Unpack[_ChatStream]) -> Stream[ChatCompletionChunk]: ...
        @overload
        def create(
            self, **options: Unpack[_ChatEither]
        ) -> ChatCompletion | Stream[ChatCompletionChunk]: ...
        def create(self, **options: Any) -> Any: ...
        def parse(
            self, *, response_format: type[T] = ..., **options: Any
        ) -> ParsedChatCompletion[T]: ...
        def stream(
            self, *, response_format: type[T] = ..., **options: Any
        ) -> ChatCompletionStreamManager[T]: ...
    else:
        create = limited(completions.Completions.create)
        parse = limited(completions.Completions.parse)
        stream = told(limited(completions.Completions.stream))


class AsyncCompletions(completions.AsyncCompletions):
    if TYPE_CHECKING:

        @overload
        async def create(self, **options: Unpack[_Chat]) -> ChatCompletion: ...
        @overload
        async def create(
            self, **options: Unpack[_ChatStream]
        ) -> AsyncStream[ChatCompletionChunk]: ...
        @overload
        async def create(
            self, **options: Unpack[_ChatEither]
        ) -> ChatCompletion | AsyncStream[ChatCompletionChunk]: ...
        async def create(self, **options: Any) -> Any: ...
        async def parse(
            self, *, response_format: type[T] = ..., **options: Any
        ) -> ParsedChatCompletion[T]: ...
        def stream(
            self, *, response_format: type[T] = ..., **options: Any
        ) -> AsyncChatCompletionStreamManager[T]: ...
    else:
        create = limited(completions.AsyncCompletions.create)
        parse = limited(completions.AsyncCompletions.parse)
        stream = told(limited(completions.AsyncCompletions.stream))


class Responses(responses.Responses):
    if TYPE_CHECKING:

        @overload
        def create(self, **options: Unpack[_Response]) -> Response: ...
        @overload
        def create(self, **options: Unpack[_ResponseStream]) -> Stream[ResponseStreamEvent]: ...
        @overload
        def create(
            self, **options: Unpack[_ResponseEither]
        ) -> Response | Stream[ResponseStreamEvent]: ...
        def create(self, **options: Any) -> Any: ...
        def parse(self, *, text_format: type[T] = ..., **options: Any) -> ParsedResponse[T]: ...
        def stream(
            self, *, text_format: type[T] = ..., **options: Any
        ) -> ResponseStreamManager[T]: ...
    else:
        create = limited(responses.Responses.create)
        parse = limited(responses.Responses.parse)
        stream = told(limited(responses.Responses.stream))


class AsyncResponses(responses.AsyncResponses):
    if TYPE_CHECKING:

        @overload
        async def create(self, **options: Unpack[_Response]) -> Response: ...
        @overload
        async def create(
            self, **options: Unpack[_ResponseStream]
        ) -> AsyncStream[ResponseStreamEvent]: ...
        @overload
        async def create(
            self, **options: Unpack[_ResponseEither]
        ) -> Response | AsyncStream[ResponseStreamEvent]: ...
        async def create(self, **options: Any) -> Any: ...
        async def parse(
            self, *, text_format: type[T] = ..., **options: Any
        ) -> ParsedResponse[T]: ...
        def stream(
            self, *, text_format: type[T] = ..., **options: Any
        ) -> AsyncResponseStreamManager[T]: ...
    else:
        create = limited(responses.AsyncResponses.create)
        parse = limited(responses.AsyncResponses.parse)
        stream = told(limited(responses.AsyncResponses.stream))


class Chat(chat.Chat):
    @cached_property
    def completions(self) -> Completions:
        return Completions(self._client)


class AsyncChat(chat.AsyncChat):
    @cached_property
    def completions(self) -> AsyncCompletions:
        return AsyncCompletions(self._client)
