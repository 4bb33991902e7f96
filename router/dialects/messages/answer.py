"""A chat completion as a message: its content blocks, why it stopped, what it took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from router.upstreams.answer import text_in

Object = dict[str, Any]

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_OWN_THOUGHTS = ("thinking", "redacted_thinking")


def message_id(exchange: str) -> str:
    """The id of the message that an exchange gave."""
    return f"msg_{exchange.removeprefix('req_')}"


def message(completion: Object, identifier: str, stops: Sequence[str]) -> Object:
    """A ``message`` object. ``stops`` are the request's stop sequences."""
    choice = completion["choices"][0]
    said = choice["message"]
    ending = Ending()
    ending.see(choice, said)
    return {
        "id": identifier,
        "type": "message",
        "role": "assistant",
        "model": completion.get("model") or "",
        "content": list(_blocks(said, identifier)),
        **ending.stop(stops),
        "usage": usage(completion.get("usage")),
    }


@dataclass(slots=True)
class Ending:
    """Why an answer stopped, as far as it is known."""

    finish_reason: str | None = None
    refused: bool = False
    called: bool = False
    mark: Any = None

    def see(self, choice: Object, said: Object) -> None:
        """Read a choice, or a part of one; ``said`` is its message or delta."""
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        self.refused = bool(said.get("refusal")) or self.refused
        self.called = bool(said.get("tool_calls")) or self.called
        # vLLM's name for the stop sequence that it met; OpenAI does not tell.
        self.mark = choice.get("stop_reason") or self.mark

    def stop(self, stops: Sequence[str]) -> Object:
        """``stop_reason`` and ``stop_sequence``."""
        if self.refused:
            return {"stop_reason": "refusal", "stop_sequence": None}
        # A call that the request demanded has OpenAI's finish reason "stop".
        if self.called and self.finish_reason == "stop":
            return {"stop_reason": "tool_use", "stop_sequence": None}
        if self.finish_reason == "stop" and self.mark in stops:
            return {"stop_reason": "stop_sequence", "stop_sequence": self.mark}
        reason = _STOP_REASONS.get(self.finish_reason or "", "end_turn")
        return {"stop_reason": reason, "stop_sequence": None}


def usage(counted: Object | None) -> Object:
    """Anthropic counts what was read from or written to a cache apart from the other input."""
    counted = counted or {}
    details = counted.get("prompt_tokens_details") or {}
    read = details.get("cached_tokens") or 0
    written = details.get("cache_write_tokens") or details.get("cache_creation_tokens") or 0
    prompt = counted.get("prompt_tokens") or 0
    said = {
        "input_tokens": max(0, prompt - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": counted.get("completion_tokens") or 0,
    }
    thought = (counted.get("completion_tokens_details") or {}).get("reasoning_tokens")
    return {**said, "output_tokens_details": {"thinking_tokens": thought}} if thought else said


def thoughts(said: Object) -> Iterator[Object]:
    """The reasoning in a message or delta, as thinking blocks. Those of an Anthropic model are as
    it signed them; another's reasoning has no signature."""
    own = [
        block for block in said.get("thinking_blocks") or () if block.get("type") in _OWN_THOUGHTS
    ]
    reasoning = said.get("reasoning_content") or said.get("reasoning")
    for block in own:
        if block["type"] == "thinking":
            thinking, signature = block.get("thinking") or "", block.get("signature") or ""
            yield {"type": "thinking", "thinking": thinking, "signature": signature}
        else:
            yield {"type": "redacted_thinking", "data": block["data"]}
    if reasoning and not own:
        yield {"type": "thinking", "thinking": reasoning, "signature": ""}


def tool_use(call: Object, identifier: str, index: int) -> Object:
    """The block of a tool call, with no input yet."""
    name = (call.get("function") or {}).get("name") or ""
    call_id = call.get("id") or f"toolu_{identifier.removeprefix('msg_')}_{index}"
    return {"type": "tool_use", "id": call_id, "name": name, "input": {}}


def _blocks(said: Object, identifier: str) -> Iterator[Object]:
    yield from thoughts(said)
    for text in (text_in(said.get("content")), said.get("refusal")):
        if text:
            yield {"type": "text", "text": text}
    for index, call in enumerate(said.get("tool_calls") or ()):
        arguments = (call.get("function") or {}).get("arguments") or ""
        yield {**tool_use(call, identifier, index), "input": _input(arguments)}


def _input(arguments: str) -> Object:
    """The arguments that a model wrote for a tool. Where it was cut off, those that it got to;
    where it wrote no JSON object, its words: the tool will know that they are not its input."""
    try:
        parsed = from_json(arguments or "{}", allow_partial=True)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"arguments": arguments}
