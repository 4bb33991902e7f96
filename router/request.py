"""Chat completion requests, checked as far as the router looks at them.

Parameters that only the upstream looks at pass on as they are: it knows best what is wrong with
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from policies.scores import Ask
from policies.tasks import Prompt, read_prompt
from router.checks import (
    A_NAME,
    Checks,
    check_given,
    expect,
    invalid,
    is_count,
    is_flag,
    is_mapping,
    is_name,
    is_objects,
    is_text,
    is_texts,
    nested_too_deeply,
    require,
    written,
)
from router.errors import InvalidRequestError
from router.terms import Terms
from router.upstreams.thinking import in_own_words
from telemetry.exchange import Dialect

MAX_TOP_LOGPROBS = 20
MAX_CHOICES = 128

_LONGEST_MEDIUM = 6400
"""Characters: what an image that fills what a model sees takes is what so many of text do. How long
it is in base64 says nothing of it."""

_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
"""How gzip, zstd and deflate begin; no JSON does."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that has been checked."""

    text: str
    """The JSON of ``body``."""
    body: dict[str, Any]
    model: str
    prompt: Prompt
    stream: bool
    include_usage: bool
    """Whether the caller asked for usage at the end of the stream."""
    store: bool
    """False where the caller wants no text kept."""
    metadata: str | None
    """The JSON of the body's, where there is any and it may be kept."""
    top_logprobs: int | None
    """How many alternatives the caller wants to see; None without ``logprobs``."""
    terms: Terms
    dialect: Dialect
    original: bytes | None
    """The body as the caller sent it, where that was not a chat completion request."""
    ask: Ask
    """What the scorers want to know of it."""

    def for_upstream(
        self, model: str, *, stream: bool, logprobs: int | None = None
    ) -> dict[str, Any]:
        """The body to send: the caller's, but for the model and what was meant for the router.

        ``logprobs`` asks for so many alternatives per token if the caller did not.
        """
        body = {**self.body, "model": model}
        metadata = body.get("metadata")
        if metadata and "task" in metadata:
            body["metadata"] = {key: value for key, value in metadata.items() if key != "task"}
            if not body["metadata"]:
                del body["metadata"]
        if self.dialect == "messages":
            body = in_own_words(model, body)
        if self.dialect != "chat" and not body.get("store"):
            # Other APIs take it always, OpenAI's chat completions beside ``store`` alone.
            body.pop("metadata", None)
        if stream:
            # Usage is the only way to know what a stream cost.
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        else:
            body.pop("stream", None)
            body.pop("stream_options", None)
        if logprobs is not None and self.top_logprobs is None:
            body |= {"logprobs": True, "top_logprobs": logprobs}
        return body


def parse(body: dict[str, Any], raw: bytes, terms: Terms, dialect: Dialect = "chat") -> ChatRequest:
    """Check a chat completion request. ``raw`` is what the caller sent, in its ``dialect``.

    Raises InvalidRequestError, which names the parameter at fault.
    """
    check_given(body, _CHECKS)
    require(body, ("model", "messages"))
    check_messages(body["messages"])
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise InvalidRequestError("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
    stream_options = body.get("stream_options") or {}
    is_chat = dialect == "chat"
    text = raw.decode() if is_chat else written(body).decode()
    prompt = prompt_of(body, terms)
    expect(is_name(prompt.task), "metadata.task", A_NAME)
    stream = bool(body.get("stream"))
    store = body.get("store") is not False
    metadata = body.get("metadata")
    # It holds for each of the choices.
    longest = body.get("max_completion_tokens") or body.get("max_tokens")
    choices = body.get("n") or 1
    limit = longest and longest * choices
    return ChatRequest(
        text=text,
        body=body,
        model=body["model"],
        prompt=prompt,
        stream=stream,
        include_usage=bool(stream_options.get("include_usage")),
        store=store,
        metadata=written(metadata).decode() if metadata and store else None,
        top_logprobs=(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
        terms=terms,
        dialect=dialect,
        original=None if is_chat else raw,
        ask=Ask(prompt.task, _characters(text, body["messages"]), stream, limit, choices),
    )


def prompt_of(body: dict[str, Any], terms: Terms) -> Prompt:
    """The prompt in a chat completion request. Raises InvalidRequestError."""
    try:
        return read_prompt(body, terms.task)
    except RecursionError as error:
        raise nested_too_deeply() from error


def read_object(raw: bytes) -> dict[str, Any]:
    """A request's body as a JSON object. Raises InvalidRequestError."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if raw.startswith(_COMPRESSED):
            raise InvalidRequestError(
                "The body of the request is compressed, which is not supported: send it as it is, "
                "without 'Content-Encoding'."
            ) from error
        raise InvalidRequestError(f"The body of the request is not valid JSON: {error}.") from error
    if not isinstance(body, dict):
        raise InvalidRequestError("The body of the request must be a JSON object.")
    return body


def check_messages(messages: list[Any]) -> None:
    """Raises InvalidRequestError, which names the message at fault."""
    for index, message in enumerate(messages):
        if not (is_mapping(message) and is_text(message.get("role")) and _has_content(message)):
            _blame(message, f"messages[{index}]")


def _blame(message: Any, at: str) -> NoReturn:
    """Say what is wrong with a message."""
    expect(is_mapping(message), at, "an object")
    expect(is_text(message.get("role")), f"{at}.role", "a string")
    raise invalid(f"{at}.content", "a string or an array of objects")


def _has_content(message: dict[str, Any]) -> bool:
    content = message.get("content")
    return content is None or is_text(content) or is_objects(content)


def _characters(text: str, messages: list[dict[str, Any]]) -> int:
    """How long a request is, no image, file or sound of which counts for more than it may take."""
    media = (
        len(written(part))
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if part.get("type") not in ("text", "refusal")
    )
    return max(1, len(text) - sum(max(0, length - _LONGEST_MEDIUM) for length in media))


def _is_stop(value: Any) -> bool:
    return is_text(value) or is_texts(value)


_CHECKS: Checks = {
    "model": (is_name, A_NAME),
    "messages": (lambda value: isinstance(value, list) and bool(value), "an array of messages"),
    "stream": (is_flag, "a boolean"),
    "stream_options": (is_mapping, "an object"),
    "store": (is_flag, "a boolean"),
    "metadata": (is_mapping, "an object"),
    "tools": (is_objects, "an array of objects"),
    "functions": (is_objects, "an array of objects"),
    "response_format": (is_mapping, "an object"),
    "modalities": (is_texts, "an array of strings"),
    "n": (
        lambda value: is_count(value) and value <= MAX_CHOICES,
        f"an integer from 1 to {MAX_CHOICES}",
    ),
    "max_tokens": (is_count, "a positive integer"),
    "max_completion_tokens": (is_count, "a positive integer"),
    "stop": (_is_stop, "a string or an array of strings"),
    "logprobs": (is_flag, "a boolean"),
    "top_logprobs": (
        lambda value: type(value) is int and 0 <= value <= MAX_TOP_LOGPROBS,
        f"an integer from 0 to {MAX_TOP_LOGPROBS}",
    ),
}
