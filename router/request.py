"""Chat completion requests, checked as far as the router looks at them.

Parameters that only the upstream looks at pass on as they are: it knows best what is wrong with
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from policies.scores import Ask
from policies.tasks import Prompt, read_prompt
from router.errors import InvalidRequestError
from router.terms import Terms
from telemetry.exchange import Dialect

MAX_TOP_LOGPROBS = 20
MAX_CHOICES = 128


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
    for name, (check, expected) in _CHECKS.items():
        value = body.get(name)
        if value is not None and not check(value):
            raise InvalidRequestError(f"Invalid value for '{name}': expected {expected}.", name)
    for name in ("model", "messages"):
        if body.get(name) is None:
            raise InvalidRequestError(f"Missing required parameter: '{name}'.", name)
    _check_messages(body["messages"])
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise InvalidRequestError("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
    stream_options = body.get("stream_options") or {}
    is_chat = dialect == "chat"
    text = raw.decode() if is_chat else orjson.dumps(body).decode()
    prompt = read_prompt(body, terms.task)
    stream = bool(body.get("stream"))
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return ChatRequest(
        text=text,
        body=body,
        model=body["model"],
        prompt=prompt,
        stream=stream,
        include_usage=bool(stream_options.get("include_usage")),
        store=body.get("store") is not False,
        top_logprobs=(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
        terms=terms,
        dialect=dialect,
        original=None if is_chat else raw,
        ask=Ask(prompt.task, len(text), stream, limit),
    )


def read_object(raw: bytes) -> dict[str, Any]:
    """A request's body as a JSON object. Raises InvalidRequestError."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"The body of the request is not valid JSON: {error}.") from error
    if not isinstance(body, dict):
        raise InvalidRequestError("The body of the request must be a JSON object.")
    return body


def _check_messages(messages: list[Any]) -> None:
    for index, message in enumerate(messages):
        at = f"messages[{index}]"
        if not isinstance(message, dict):
            raise InvalidRequestError(f"Invalid value for '{at}': expected an object.", at)
        if not _is_text(message.get("role")):
            raise InvalidRequestError(
                f"Invalid value for '{at}.role': expected a string.", f"{at}.role"
            )
        content = message.get("content")
        if not (content is None or isinstance(content, str) or _is_objects(content)):
            raise InvalidRequestError(
                f"Invalid value for '{at}.content': expected a string or an array of objects.",
                f"{at}.content",
            )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_stop(value: Any) -> bool:
    return isinstance(value, str) or _is_texts(value)


_Check = tuple[Callable[[Any], bool], str]

_CHECKS: dict[str, _Check] = {
    "model": (_is_text, "a string"),
    "messages": (lambda value: isinstance(value, list) and bool(value), "an array of messages"),
    "stream": (_is_flag, "a boolean"),
    "stream_options": (_is_mapping, "an object"),
    "store": (_is_flag, "a boolean"),
    "metadata": (_is_mapping, "an object"),
    "tools": (_is_objects, "an array of objects"),
    "functions": (_is_objects, "an array of objects"),
    "response_format": (_is_mapping, "an object"),
    "modalities": (_is_texts, "an array of strings"),
    "n": (
        lambda value: _is_count(value) and value <= MAX_CHOICES,
        f"an integer from 1 to {MAX_CHOICES}",
    ),
    "max_tokens": (_is_count, "a positive integer"),
    "max_completion_tokens": (_is_count, "a positive integer"),
    "stop": (_is_stop, "a string or an array of strings"),
    "logprobs": (_is_flag, "a boolean"),
    "top_logprobs": (
        lambda value: type(value) is int and 0 <= value <= MAX_TOP_LOGPROBS,
        f"an integer from 0 to {MAX_TOP_LOGPROBS}",
    ),
}
