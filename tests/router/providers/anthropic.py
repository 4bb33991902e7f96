"""Anthropic's Messages API (https://docs.anthropic.com/en/api/messages, .../messages-streaming)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tests.router.providers.stub import ProviderStub, Received, Reply, require

Block = dict[str, Any]

USAGE = {
    "input_tokens": 20,
    "cache_creation_input_tokens": 5,
    "cache_read_input_tokens": 15,
    "output_tokens": 9,
}

_FIELDS = {
    "cache_control",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "service_tier",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
}
_BETA_FIELDS = {"output_format": "structured-outputs-2025-11-13"}
"""Fields that are taken from who asks for the beta."""
_DELTAS = {"text": "text_delta", "thinking": "thinking_delta"}


def text(said: str) -> Block:
    return {"type": "text", "text": said}


def thinking(thought: str, signature: str) -> Block:
    return {"type": "thinking", "thinking": thought, "signature": signature}


def tool_use(id: str, name: str, input: dict[str, Any]) -> Block:
    return {"type": "tool_use", "id": id, "name": name, "input": input}


def message(
    *blocks: Block, stop_reason: str = "end_turn", stop_sequence: str | None = None, **counted: Any
) -> Reply:
    """A message of these content blocks, whole and as the events of a stream; ``counted`` is in its
    usage too."""
    whole = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": list(blocks),
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "usage": {**USAGE, **counted},
    }
    return Reply(whole, list(_events(whole, blocks)))


def error(status: int, type: str, message: str, **headers: str) -> Reply:
    said = {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_01"}
    return Reply(said, status=status, headers=headers)


def event(type: str, **data: Any) -> bytes:
    return f"event: {type}\ndata: {json.dumps({'type': type, **data})}\n\n".encode()


def _events(whole: dict[str, Any], blocks: Sequence[Block]) -> Iterator[bytes]:
    opening = {
        **whole,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**whole["usage"], "output_tokens": 1},
    }
    yield event("message_start", message=opening)
    yield event("ping")
    for index, block in enumerate(blocks):
        yield from _block_events(index, block)
    delta = {name: whole[name] for name in ("stop_reason", "stop_sequence")}
    yield event("message_delta", delta=delta, usage={"output_tokens": USAGE["output_tokens"]})
    yield event("message_stop")


def _block_events(index: int, block: Block) -> Iterator[bytes]:
    start, deltas = _deltas(block)
    yield event("content_block_start", index=index, content_block=start)
    for delta in deltas:
        yield event("content_block_delta", index=index, delta=delta)
    yield event("content_block_stop", index=index)


def _deltas(block: Block) -> tuple[Block, list[Block]]:
    """How a block starts, and what is then added to it."""
    kind = block["type"]
    if kind == "tool_use":
        start = {**block, "input": {}}
        pieces = ["", *_halves(json.dumps(block["input"]))]
        return start, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    if kind not in _DELTAS:
        return block, []
    deltas = [{"type": _DELTAS[kind], kind: piece} for piece in _halves(block[kind])]
    if kind == "thinking":
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {"type": kind, kind: "", "signature": ""}, deltas
    return {"type": kind, kind: ""}, deltas


def _halves(content: str) -> list[str]:
    middle = len(content) // 2
    return [content[:middle], content[middle:]]


class AnthropicStub(ProviderStub):
    """As strict as the real one about what it does not know and what it needs."""

    plain = message(text("a cat"))

    def check(self, received: Received) -> None:
        body = received.body
        require(received.path == "/v1/messages", f"no such path: {received.path}")
        require("anthropic-version" in received.headers, "anthropic-version: header is required")
        for name in ("model", "max_tokens", "messages"):
            require(name in body, f"{name}: Field required")
        betas = received.headers.get("anthropic-beta", "").split(",")
        extra = _BETA_FIELDS.keys() if set(betas) & set(_BETA_FIELDS.values()) else set()
        for name in body.keys() - _FIELDS - extra:
            require(False, f"{name}: Extra inputs are not permitted")
        for said in body["messages"]:
            require(said["role"] in ("user", "assistant"), "messages: unexpected role")
        adapts = "4-6" in body["model"]
        mode = (body.get("thinking") or {}).get("type")
        effort = (body.get("output_config") or {}).get("effort")
        if not adapts:
            require(mode != "adaptive", "adaptive thinking is not supported on this model")
            require(effort is None, "This model does not support the effort parameter.")
        require(effort != "xhigh", "This model does not support effort level 'xhigh'.")
        if mode == "enabled":
            _check_thinking(body["messages"])
            require(body["thinking"]["budget_tokens"] >= 1024, "thinking.budget_tokens: too small")
            require(
                body["thinking"]["budget_tokens"] < body["max_tokens"],
                "`max_tokens` must be greater than `thinking.budget_tokens`",
            )
            require(
                body.get("temperature", 1) == 1,
                "`temperature` may only be set to 1 when thinking is enabled",
            )

    def refusal(self, message: str) -> Reply:
        return error(400, "invalid_request_error", message)


def _check_thinking(messages: Sequence[dict[str, Any]]) -> None:
    """A turn of calls and their results has to begin with thinking."""
    end = max((i for i, said in enumerate(messages) if said["role"] == "assistant"), default=-1)
    if end < 0 or "tool_use" not in _kinds(messages[end]):
        return
    while end >= 2 and "tool_result" in _kinds(messages[end - 1]):
        end -= 2
    kind = _kinds(messages[end])[0]
    require(
        kind in ("thinking", "redacted_thinking"),
        f"messages.{end}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
        f"`{kind}`. When `thinking` is enabled, a final `assistant` message must start with a "
        "thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks).",
    )


def _kinds(message: dict[str, Any]) -> list[str]:
    content = message["content"]
    return ["text"] if isinstance(content, str) else [block["type"] for block in content]
