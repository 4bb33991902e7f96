"""OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat), as OpenAI serves
them and as vLLM does, whose reasoning models say their reasoning beside the content
(https://docs.vllm.ai/en/latest/features/reasoning_outputs.html)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.router.providers.stub import ProviderStub, Received, Reply, require

USAGE = {
    "prompt_tokens": 40,
    "completion_tokens": 15,
    "total_tokens": 55,
    "prompt_tokens_details": {"cached_tokens": 15},
    "completion_tokens_details": {"reasoning_tokens": 6},
}

_REASONING_MODELS = ("o1", "o3", "o4", "gpt-5")
_NOT_FOR_REASONING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs")


def completion(
    message: dict[str, Any],
    finish_reason: str = "stop",
    pieces: Sequence[dict[str, Any]] | None = None,
) -> Reply:
    """A completion of this message, whole and as a stream of these ``pieces``, by default of one
    field a chunk."""
    whole = {
        **_head("chat.completion"),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None, **message},
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        ],
        "usage": USAGE,
    }
    deltas = [
        {"role": "assistant", "content": ""},
        *(pieces or ({k: v} for k, v in message.items())),
    ]
    events = [_chunk([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    events.append(_chunk([{"index": 0, "delta": {}, "finish_reason": finish_reason}]))
    events.append(_chunk([], USAGE))
    return Reply(whole, [*events, b"data: [DONE]\n\n"])


def mistral(thought: str, text: str) -> Reply:
    """What Mistral's reasoning models say: thoughts and text are parts of the content, and in a
    stream its later pieces are plain text
    (https://docs.mistral.ai/capabilities/reasoning/)."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": thought}]}
    said = {"type": "text", "text": text}
    middle = len(text) // 2
    begun = {"type": "text", "text": text[:middle]}
    pieces: list[Any] = [[thinking], [begun], text[middle:]]
    return completion(
        {"content": [thinking, said]}, pieces=[{"content": piece} for piece in pieces]
    )


def error(status: int, message: str, code: str | None, **headers: str) -> Reply:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    said = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Reply(said, status=status, headers=headers)


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-01", "object": kind, "created": 1, "model": "the-model"}


def _chunk(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
    chunk = {**_head("chat.completion.chunk"), "choices": choices, "usage": usage}
    return f"data: {json.dumps(chunk)}\n\n".encode()


class OpenAIStub(ProviderStub):
    """Refuses to reasoning models what OpenAI refuses them."""

    plain = completion({"content": "a cat"})

    def check(self, received: Received) -> None:
        require(received.path == "/v1/chat/completions", f"no such path: {received.path}")
        if not received.body["model"].startswith(_REASONING_MODELS):
            return
        for name in _NOT_FOR_REASONING:
            require(name not in received.body, f"Unsupported parameter: '{name}'.")
        require(
            "max_tokens" not in received.body,
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        )

    def refusal(self, message: str) -> Reply:
        return error(400, message, "unsupported_parameter")


class VllmStub(ProviderStub):
    """Knows its models by their names on the Hub."""

    plain = OpenAIStub.plain
    served = ("Qwen/Qwen3-32B", "meta-llama/Llama-3.1-8B-Instruct")

    def check(self, received: Received) -> None:
        require(received.path == "/v1/chat/completions", f"no such path: {received.path}")
        model = received.body["model"]
        require(model in self.served, f"The model `{model}` does not exist.")

    def refusal(self, message: str) -> Reply:
        said = {"object": "error", "message": message, "type": "NotFoundError", "code": 404}
        return Reply(said, status=404)
