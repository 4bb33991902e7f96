"""What an upstream said, read from its completion or collected from its stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from router.errors import UpstreamBrokenError
from telemetry.prices import Usage

_CALLED = {"function": {"name": "", "arguments": ""}, "custom": {"name": "", "input": ""}}
"""What a tool call calls, by its type, before anything of it has come."""

_GROWING = ("function_call", "audio")
"""Objects of a message whose texts come in pieces."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion as the exchange keeps it."""

    id: str | None
    text: str | None
    """Of the first choice."""
    finish_reason: str | None
    """Of the first choice; None where the answer never finished."""
    usage: Usage | None
    """None where the upstream did not say."""
    choices: str | None
    """All choices as a JSON array, where they are more than one text."""
    written: str | None = None
    """Where the upstream did not say its usage: all that it wrote, in every choice, with its
    thoughts and what it called functions with."""


def text_in(content: Any) -> str | None:
    """The text in the content of a message or a delta, None where it has none. Some servers send a
    list, with thoughts beside the text."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    found = [part.get("text") for part in content if isinstance(part, dict)]
    texts = [text for text in found if isinstance(text, str)]
    return "".join(texts) if texts else None


def read_completion(content: bytes) -> Answer:
    """Raises UpstreamBrokenError if ``content`` is not a chat completion."""
    try:
        body = orjson.loads(content)
        choices = body["choices"]
        first = choices[0]
        usage = _usage(body.get("usage"), body.get("service_tier"))
        return Answer(
            id=body.get("id"),
            text=text_in(first["message"].get("content")),
            finish_reason=first.get("finish_reason"),
            usage=usage,
            choices=_kept(choices),
            written=_written(choices) if usage is None else None,
        )
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise UpstreamBrokenError("The upstream's answer is not a chat completion.") from error


class AnswerCollector:
    """Puts the choices of a stream together, chunk by chunk."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._usage: dict[str, Any] | None = None
        self._tier: str | None = None
        self._choices: dict[int, _Choice] = {}
        self.begun = False
        """Whether any part of an answer has come."""
        self.finished = False
        """Whether every choice seen so far has finished."""

    def add(self, chunk: dict[str, Any]) -> None:
        self._id = self._id or chunk.get("id")
        self._usage = chunk.get("usage") or self._usage
        self._tier = chunk.get("service_tier") or self._tier
        for choice in chunk.get("choices") or ():
            self._add_choice(choice)

    def answer(self) -> Answer:
        """What has come so far; it has no finish reason unless every choice has finished."""
        choices = [choice.completed(index) for index, choice in sorted(self._choices.items())]
        first = choices[0] if choices else {"message": {}, "finish_reason": None}
        usage = _usage(self._usage, self._tier)
        return Answer(
            id=self._id,
            text=text_in(first["message"].get("content")),
            finish_reason=first["finish_reason"] if self.finished else None,
            usage=usage,
            choices=_kept(choices),
            written=_written(choices) if usage is None else None,
        )

    def _add_choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index", 0)
        collected = self._choices.get(index)
        if collected is None:
            collected = self._choices[index] = _Choice()
        self.begun = collected.add(choice) or self.begun
        self.finished = self.begun and all(
            each.finish_reason is not None for each in self._choices.values()
        )


@dataclass(slots=True)
class _Choice:
    """One choice of a stream."""

    text: list[str] = field(default_factory=list)
    message: dict[str, Any] = field(default_factory=lambda: {"role": "assistant"})
    logprobs: dict[str, list[Any]] = field(default_factory=dict)
    finish_reason: str | None = None

    def add(self, choice: dict[str, Any]) -> bool:
        """Whether this part of the choice says anything."""
        delta = choice.get("delta") or {}
        said = False
        for key, value in delta.items():
            if value and key != "role":
                said = True
                self._add_part(key, value)
        for kind, tokens in (choice.get("logprobs") or {}).items():
            if tokens:
                self.logprobs.setdefault(kind, []).extend(tokens)
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        return said or self.finish_reason is not None

    def completed(self, index: int) -> dict[str, Any]:
        """The choice as a completion has it."""
        content = "".join(self.text) if self.text else None
        return {
            "index": index,
            "message": {"content": content, **self.message},
            "logprobs": self.logprobs or None,
            "finish_reason": self.finish_reason,
        }

    def _add_part(self, key: str, value: Any) -> None:
        if key == "content":
            self.text.append(text_in(value) or "")
        elif key == "tool_calls":
            _add_tool_calls(self.message.setdefault("tool_calls", []), value)
        elif key == "thinking_blocks":
            add_thinking(self.message.setdefault(key, []), value)
        elif key in _GROWING and isinstance(value, dict):
            _grow(self.message.setdefault(key, {}), value)
        else:
            _grow(self.message, {key: value})


def _grow(content: dict[str, Any], pieces: dict[str, Any]) -> None:
    """Texts and lists come in pieces, all else is whole."""
    for key, piece in pieces.items():
        before = content.get(key)
        adds_up = key != "id" and isinstance(piece, str | list) and type(piece) is type(before)
        content[key] = before + piece if adds_up else piece


def _add_tool_calls(calls: list[dict[str, Any]], deltas: Sequence[dict[str, Any]]) -> None:
    """Tool calls come in pieces: the first names the tool, the others add what it is given."""
    for delta in deltas:
        index = delta.get("index", 0)
        while len(calls) <= index:
            calls.append({})
        call = calls[index]
        for key, value in delta.items():
            if not value or key == "index":
                continue
            if key in _CALLED:
                _call(call.setdefault(key, dict(_CALLED[key])), value)
            else:
                # What is not OpenAI's is kept as well: Google wants its signatures back.
                call[key] = value


def _call(called: dict[str, Any], pieces: dict[str, Any]) -> None:
    for key, piece in pieces.items():
        called[key] = called.get(key, "") + (piece or "")


def add_thinking(blocks: list[dict[str, Any]], deltas: Sequence[dict[str, Any]]) -> None:
    """Anthropic's thinking comes in pieces; a block ends with its signature."""
    for delta in deltas:
        piece = {key: value for key, value in delta.items() if key != "index"}
        if blocks and "signature" not in blocks[-1] and "thinking" in blocks[-1]:
            block = blocks[-1]
            block.update({**piece, "thinking": block["thinking"] + piece.get("thinking", "")})
        else:
            blocks.append(piece)


def _kept(choices: Sequence[dict[str, Any]]) -> str | None:
    if len(choices) == 1 and not _is_more_than_text(choices[0]):
        return None
    return orjson.dumps(choices).decode() if choices else None


def _is_more_than_text(choice: dict[str, Any]) -> bool:
    if choice.get("logprobs"):
        return True
    message = choice["message"]
    return any(value and key not in ("role", "content") for key, value in message.items())


def _written(choices: Sequence[dict[str, Any]]) -> str:
    return "".join(text for choice in choices for text in _texts(choice["message"]))


def _texts(message: dict[str, Any]) -> Iterator[str]:
    """What a model wrote of a message."""
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    for text in (thoughts, text_in(message.get("content")), message.get("refusal")):
        if isinstance(text, str):
            yield text
    calls = [call.get(key) for call in message.get("tool_calls") or () for key in _CALLED]
    for call in (*calls, message.get("function_call")):
        if isinstance(call, dict):
            yield from (text for text in call.values() if isinstance(text, str))


def _usage(usage: dict[str, Any] | None, tier: str | None) -> Usage | None:
    if not usage:
        return None
    read = usage.get("prompt_tokens_details") or {}
    written = usage.get("completion_tokens_details") or {}
    said = Usage(
        prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
        cached_tokens=read.get("cached_tokens") or 0,
        reasoning_tokens=written.get("reasoning_tokens") or 0,
        written_tokens=read.get("cache_write_tokens") or read.get("cache_creation_tokens") or 0,
        heard_tokens=read.get("audio_tokens") or 0,
        spoken_tokens=written.get("audio_tokens") or 0,
        tier=tier,
        kept_tokens=_kept_tokens(read.get("cache_creation_token_details")),
    )
    return said.with_total(usage.get("total_tokens") or 0)


def _kept_tokens(written: dict[str, Any] | None) -> int:
    """Of the tokens that were written to Claude's cache, those that stay there for an hour."""
    return (written or {}).get("ephemeral_1h_input_tokens") or 0
