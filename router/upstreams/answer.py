"""What an upstream said, read from its completion or collected from its stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from router.errors import UpstreamBrokenError
from telemetry.prices import Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """The first choice of a completion."""

    text: str | None
    finish_reason: str | None
    """None where the answer never finished."""
    usage: Usage | None
    """None where the upstream did not say."""
    response: str | None
    """The message as JSON where it is more than a text."""


def read_completion(content: bytes) -> Answer:
    """Raises UpstreamBrokenError if ``content`` is not a chat completion."""
    try:
        body = orjson.loads(content)
        choice = body["choices"][0]
        message = choice["message"]
        return Answer(
            text=_text(message),
            finish_reason=choice.get("finish_reason"),
            usage=_usage(body.get("usage")),
            response=_response(message),
        )
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise UpstreamBrokenError("The upstream's answer is not a chat completion.") from error


class AnswerCollector:
    """Puts the first choice of a stream together, chunk by chunk."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._message: dict[str, Any] = {"role": "assistant"}
        self._open: set[int] = set()
        self._usage: Usage | None = None
        self._finish_reason: str | None = None
        self.begun = False
        """Whether any part of an answer has come."""
        self.finished = False
        """Whether every choice seen so far has finished."""

    def add(self, chunk: dict[str, Any]) -> None:
        if chunk.get("usage"):
            self._usage = _usage(chunk["usage"])
        for choice in chunk.get("choices") or ():
            self._add_choice(choice)

    def answer(self) -> Answer:
        """What has come so far; it has no finish reason unless every choice has finished."""
        message = self._message
        if self._text:
            message = {**message, "content": "".join(self._text)}
        return Answer(
            text=_text(message),
            finish_reason=self._finish_reason if self.finished else None,
            usage=self._usage,
            response=_response(message),
        )

    def _add_choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index", 0)
        delta = choice.get("delta") or {}
        finish_reason = choice.get("finish_reason")
        if finish_reason or any(value for key, value in delta.items() if key != "role"):
            self.begun = True
        if index == 0:
            self._add_delta(delta)
            self._finish_reason = finish_reason or self._finish_reason
        if finish_reason:
            self._open.discard(index)
        elif delta:
            self._open.add(index)
        self.finished = self.begun and not self._open

    def _add_delta(self, delta: dict[str, Any]) -> None:
        for key, value in delta.items():
            if key == "content":
                if value:
                    self._text.append(value)
            elif key == "tool_calls":
                _add_tool_calls(self._message.setdefault("tool_calls", []), value or [])
            elif isinstance(value, str) and key != "role":
                self._message[key] = self._message.get(key, "") + value
            elif value:
                self._message[key] = value


def _add_tool_calls(calls: list[dict[str, Any]], deltas: list[dict[str, Any]]) -> None:
    """Tool calls come in pieces: the first names the function, the others add arguments."""
    for delta in deltas:
        index = delta.get("index", 0)
        while len(calls) <= index:
            calls.append({"function": {"name": "", "arguments": ""}})
        call = calls[index]
        for key in ("id", "type"):
            if delta.get(key):
                call[key] = delta[key]
        for key, piece in (delta.get("function") or {}).items():
            call["function"][key] = call["function"].get(key, "") + (piece or "")


def _text(message: dict[str, Any]) -> str | None:
    content = message.get("content")
    return content if isinstance(content, str) else None


def _response(message: dict[str, Any]) -> str | None:
    more = any(value for key, value in message.items() if key not in ("role", "content"))
    return orjson.dumps(message).decode() if more else None


def _usage(usage: dict[str, Any] | None) -> Usage | None:
    if not usage:
        return None
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
        cached_tokens=details.get("cached_tokens") or 0,
    )
