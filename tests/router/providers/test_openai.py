"""OpenAI, its reasoning models, and what speaks as it does: Llama 8B on any server, and vLLM."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import openai
import pytest

from tests.router.providers.conftest import KEY, Providers
from tests.router.providers.openai import USAGE, OpenAIStub, completion, error
from tests.router.providers.turns import AS_SCHEMA, CONVERSATION, HI, LOOK, put_together


def ask(providers: Providers, model: str, **parameters: Any) -> Any:
    body: Any = {"model": model, "messages": HI, **parameters}
    return providers.client().chat.completions.with_raw_response.create(**body)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("openai", "o3"),
        ("openai-mini", "gpt-4o-mini"),
        ("llama", "llama-3.1-8b-instruct"),
        ("vllm", "Qwen/Qwen3-32B"),
        ("vllm-llama", "meta-llama/Llama-3.1-8B-Instruct"),
    ],
)
def test_what_the_caller_sends_passes_unchanged(
    providers: Providers, name: str, theirs: str
) -> None:
    sent: dict[str, Any] = {
        "messages": CONVERSATION,
        "tools": [LOOK],
        "tool_choice": "required",
        "response_format": AS_SCHEMA,
        "reasoning_effort": "low",
        "max_completion_tokens": 3000,
        "stop": ["END"],
        "seed": 7,
        "extra_body": {"chat_template_kwargs": {"enable_thinking": True}},
    }
    ask(providers, name, **sent)
    received = providers.stubs[name.partition("-")[0]].last
    assert received.headers["authorization"] == f"Bearer {KEY}"
    extra = sent.pop("extra_body")
    assert received.body == {**sent, **extra, "model": theirs}


def test_what_a_reasoning_model_refuses(providers: Providers) -> None:
    for parameters in ({"max_tokens": 5}, {"temperature": 0.2}):
        with pytest.raises(openai.BadRequestError) as raised:
            ask(providers, "openai", **parameters)
        assert raised.value.code == "unsupported_parameter"
        ask(providers, "openai-mini", **parameters)


def test_reasoning_is_paid_for(providers: Providers) -> None:
    whole = ask(providers, "openai")
    stream = ask(providers, "openai", stream=True, stream_options={"include_usage": True})
    usage = whole.parse().usage
    assert usage.to_dict() == USAGE
    assert put_together(stream.parse())["usage"] == usage
    for raw in (whole, stream):
        exchange = providers.exchange(raw.headers["x-request-id"])
        assert (exchange.cached_tokens, exchange.reasoning_tokens) == (15, 6)
        # 2, 0.5 and 8 USD per million tokens; reasoning counts as output.
        assert exchange.cost == 25 * 2_000_000 + 15 * 500_000 + 15 * 8_000_000


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_of_vllm(providers: Providers, field: str) -> None:
    providers.stubs["vllm"].reply = completion({field: "It purrs.", "content": "a cat"})
    whole = ask(providers, "vllm")
    stream = ask(providers, "vllm", stream=True)
    message = whole.parse().choices[0].message
    assert (getattr(message, field), message.content) == ("It purrs.", "a cat")
    got = put_together(stream.parse())
    assert (got["reasoning"], got["text"], got["finish_reason"]) == ("It purrs.", "a cat", "stop")
    for raw in (whole, stream):
        exchange = providers.exchange(raw.headers["x-request-id"])
        assert exchange.answer == "a cat"
        assert exchange.choices is not None
        (kept,) = json.loads(exchange.choices)
        assert (kept["message"][field], kept["message"]["content"]) == ("It purrs.", "a cat")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        error(400, "Too many tokens.", "context_length_exceeded"),
        error(429, "Slow down.", "rate_limit_exceeded", **{"retry-after": "7"}),
        error(500, "The server had an error.", None),
    ],
)
def test_errors_pass_on(providers: Providers, reply: Any, stream: bool) -> None:
    providers.stubs["openai"].reply = reply
    with pytest.raises(openai.APIStatusError) as raised:
        ask(providers, "openai", stream=stream)
    assert raised.value.status_code == reply.status
    assert raised.value.body == reply.whole["error"]
    assert raised.value.response.headers.get("retry-after") == reply.headers.get("retry-after")


def test_a_model_that_vllm_does_not_serve(providers: Providers) -> None:
    stub = providers.stubs["vllm"]
    stub.reply = stub.refusal("The model `x` does not exist.")
    with pytest.raises(openai.NotFoundError, match="The model `x` does not exist"):
        ask(providers, "vllm")


def test_a_stream_that_breaks_off(providers: Providers) -> None:
    events = list(OpenAIStub.plain.events)[:2]
    for reply in (
        replace(OpenAIStub.plain, events=events),
        replace(OpenAIStub.plain, events=events, breaks=True),
    ):
        providers.stubs["llama"].reply = reply
        with pytest.raises(openai.APIError):
            put_together(ask(providers, "llama", stream=True).parse())
