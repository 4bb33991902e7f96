"""Claude as the teacher and by its name, before a server that speaks Anthropic's Messages API."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import openai
import pytest

from tests.router.providers import anthropic
from tests.router.providers.anthropic import AnthropicStub, text, thinking, tool_use
from tests.router.providers.conftest import KEY, Providers
from tests.router.providers.stub import Reply
from tests.router.providers.turns import (
    AS_SCHEMA,
    CALL,
    CONVERSATION,
    HI,
    IMAGE_WITHOUT_DATA,
    LOOK,
    PNG,
    SCHEMA,
    put_together,
)

THOUGHT = thinking("Let me see.", "c2lnbmF0dXJl")
USE = tool_use("call_1", "look", {"at": "the cat"})


@pytest.fixture
def stub(providers: Providers) -> AnthropicStub:
    stub = providers.stubs["anthropic"]
    assert isinstance(stub, AnthropicStub)
    return stub


def ask(providers: Providers, **parameters: Any) -> Any:
    return providers.ask(**{"model": "anthropic", **parameters})


def streamed(providers: Providers, **parameters: Any) -> dict[str, Any]:
    return providers.streamed(**{"model": "anthropic", **parameters})


def test_what_claude_is_asked(providers: Providers, stub: AnthropicStub) -> None:
    ask(
        providers,
        messages=CONVERSATION,
        tools=[LOOK],
        tool_choice="required",
        max_completion_tokens=300,
        stop=["END"],
        temperature=0.2,
        user="u-1",
        seed=7,
        metadata={"team": "animals"},
        store=True,
    )
    assert stub.last.headers["x-api-key"] == KEY
    body = stub.last.body
    assert body["model"] == "claude-haiku-4-5"
    assert body["system"] == [text("Be brief.")]
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                text("What is it?"),
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                },
            ],
        },
        {"role": "assistant", "content": [text("Let me look."), USE]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "furry"}],
        },
    ]
    (tool,) = body["tools"]
    assert tool["name"] == "look"
    assert tool["input_schema"] == LOOK["function"]["parameters"]
    assert body["tool_choice"] == {"type": "any"}
    assert body["max_tokens"] == 300
    assert body["stop_sequences"] == ["END"]
    assert body["temperature"] == 0.2
    assert body["metadata"] == {"user_id": "u-1"}


def test_a_schema_is_enforced(providers: Providers, stub: AnthropicStub) -> None:
    stub.reply = anthropic.message(text('{"animal": "cat"}'))
    completion = ask(providers, response_format=AS_SCHEMA)
    assert stub.last.body["output_format"] == {"type": "json_schema", "schema": SCHEMA}
    assert json.loads(completion.choices[0].message.content) == {"animal": "cat"}


def test_effort_becomes_thinking(providers: Providers, stub: AnthropicStub) -> None:
    ask(providers, reasoning_effort="low", max_tokens=3000)
    assert stub.last.body["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    budget = {"type": "enabled", "budget_tokens": 2000}
    ask(providers, extra_body={"thinking": budget}, max_tokens=3000)
    assert stub.last.body["thinking"] == budget
    with pytest.raises(openai.BadRequestError, match=r"greater than `thinking\.budget_tokens`"):
        ask(providers, reasoning_effort="low", max_tokens=300)


def test_the_teacher_s_answer(providers: Providers, stub: AnthropicStub) -> None:
    raw = providers.client().chat.completions.with_raw_response.create(model="auto", messages=HI)
    assert raw.headers["x-protege-route"] == "teacher"
    assert raw.headers["x-protege-model"] == "anthropic/claude-haiku-4-5"
    completion = raw.parse()
    assert completion.model == "claude-haiku-4-5-20251001"
    assert completion.choices[0].message.content == "a cat"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    # Cached tokens, read and written, are part of the prompt.
    assert completion.usage.prompt_tokens == 20 + 5 + 15
    assert completion.usage.completion_tokens == 9
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 15

    exchange = providers.exchange(raw.headers["x-request-id"])
    assert exchange.teacher_answer == "a cat"
    assert exchange.choices is None
    assert exchange.cached_tokens == 15
    # 1, 1.25 for what is written to the cache, 0.1 and 5 USD per million tokens.
    prompt = 20 * 1_000_000 + 5 * 1_250_000 + 15 * 100_000
    assert exchange.cost == prompt + 9 * 5_000_000


@pytest.mark.parametrize("stream", [False, True])
def test_what_stays_in_the_cache_for_an_hour_costs_twice_the_input(
    providers: Providers, stub: AnthropicStub, stream: bool
) -> None:
    written = {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3}
    stub.reply = anthropic.message(text("a cat"), cache_creation=written)
    client: Any = providers.client().chat.completions.with_raw_response
    raw = client.create(model="auto", messages=HI, stream=stream)
    if stream:
        list(raw.parse())
    exchange = providers.exchange(raw.headers["x-request-id"])
    prompt = 20 * 1_000_000 + 2 * 1_250_000 + 3 * 2_000_000 + 15 * 100_000
    assert exchange.cost == prompt + 9 * 5_000_000


def test_a_stream_says_what_a_completion_says(providers: Providers, stub: AnthropicStub) -> None:
    stub.reply = anthropic.message(THOUGHT, text("I look."), USE, stop_reason="tool_use")
    client = providers.client().chat.completions.with_raw_response
    asked: Any = {
        "model": "auto",
        "messages": HI,
        "tools": [LOOK],
        "reasoning_effort": "low",
        "max_completion_tokens": 3000,
    }
    whole = client.create(**asked)
    stream = client.create(**asked, stream=True, stream_options={"include_usage": True})

    message = whole.parse().choices[0].message
    assert message.content == "I look."
    assert message.reasoning_content == THOUGHT["thinking"]
    assert message.thinking_blocks == [THOUGHT]
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments) == USE["input"]

    got = put_together(stream.parse())
    assert got["text"] == "I look."
    assert got["reasoning"] == THOUGHT["thinking"]
    assert got["calls"] == [{"id": "call_1", "name": "look", "arguments": call.function.arguments}]
    assert got["finish_reason"] == whole.parse().choices[0].finish_reason == "tool_calls"
    assert got["usage"].prompt_tokens == 40
    assert got["usage"].prompt_tokens_details.cached_tokens == 15

    # Reasoning and its signature are kept, however the answer came.
    kept = [kept_message(providers, raw.headers["x-request-id"]) for raw in (whole, stream)]
    for name in ("content", "reasoning_content", "thinking_blocks"):
        assert kept[0][name] == kept[1][name] == getattr(message, name)
    for each in kept:
        assert [call["function"] for call in each["tool_calls"]] == [CALL["function"]]


def kept_message(providers: Providers, identifier: str) -> dict[str, Any]:
    exchange = providers.exchange(identifier)
    assert exchange.choices is not None
    (choice,) = json.loads(exchange.choices)
    return choice["message"]


def test_redacted_thinking_is_kept(providers: Providers, stub: AnthropicStub) -> None:
    redacted = {"type": "redacted_thinking", "data": "b3BhcXVl"}
    stub.reply = anthropic.message(THOUGHT, redacted, text("a cat"))
    client = providers.client().chat.completions.with_raw_response
    asked: Any = {"model": "auto", "messages": HI, "reasoning_effort": "low"}
    raw = client.create(**asked, stream=True)
    assert put_together(raw.parse())["text"] == "a cat"
    kept = kept_message(providers, raw.headers["x-request-id"])
    assert kept["thinking_blocks"] == [THOUGHT, redacted]


def test_thinking_goes_back_unchanged(providers: Providers, stub: AnthropicStub) -> None:
    said = {
        "role": "assistant",
        "content": None,
        "tool_calls": [CALL],
        "thinking_blocks": [THOUGHT],
    }
    ask(
        providers,
        messages=[*CONVERSATION[:2], said, CONVERSATION[-1]],
        tools=[LOOK],
        reasoning_effort="low",
    )
    assert stub.last.body["messages"][1]["content"] == [THOUGHT, USE]
    assert stub.last.body["thinking"]["type"] == "enabled"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_why_an_answer_ends(
    providers: Providers, stub: AnthropicStub, theirs: str, ours: str
) -> None:
    stub.reply = anthropic.message(text("a cat"), stop_reason=theirs)
    assert ask(providers).choices[0].finish_reason == ours
    assert streamed(providers)["finish_reason"] == ours


ERRORS = [
    (anthropic.error(400, "invalid_request_error", "messages: bad"), "invalid_request_error"),
    (anthropic.error(403, "permission_error", f"no such key: {KEY}"), "permission_error"),
    (anthropic.error(404, "not_found_error", "model: none"), "not_found_error"),
    (anthropic.error(413, "request_too_large", "too large"), "request_too_large"),
    (
        anthropic.error(429, "rate_limit_error", "slow down", **{"retry-after": "7"}),
        "rate_limit_exceeded",
    ),
    (anthropic.error(500, "api_error", "Internal server error"), "api_error"),
    (anthropic.error(529, "overloaded_error", "Overloaded"), "overloaded_error"),
    (
        anthropic.error(400, "invalid_request_error", "prompt is too long: 210 > 200 maximum"),
        "context_length_exceeded",
    ),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("reply", "code"), ERRORS)
def test_errors_pass_on(
    providers: Providers, stub: AnthropicStub, reply: Reply, code: str, stream: bool
) -> None:
    stub.reply = reply
    with pytest.raises(openai.APIStatusError) as raised:
        ask(providers, stream=stream)
    assert raised.value.status_code == reply.status
    assert raised.value.code == code
    assert isinstance(raised.value.body, dict)
    assert isinstance(reply.whole, dict)
    said = reply.whole["error"]["message"].replace(KEY, "***")
    assert raised.value.body["message"] == said
    assert raised.value.response.headers.get("retry-after") == reply.headers.get("retry-after")


@pytest.mark.parametrize("stream", [False, True])
def test_the_caller_has_nothing_to_do_with_the_routers_own_key(
    providers: Providers, stub: AnthropicStub, stream: bool
) -> None:
    stub.reply = anthropic.error(401, "authentication_error", f"no such key: {KEY}")
    with pytest.raises(openai.InternalServerError) as raised:
        ask(providers, stream=stream)
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_key_refused")
    assert KEY not in raised.value.response.text


@pytest.mark.parametrize("reply", [Reply(b"{not json"), Reply(b"<html/>"), Reply({"type": "m"})])
def test_what_is_no_message(providers: Providers, stub: AnthropicStub, reply: Reply) -> None:
    stub.reply = reply
    with pytest.raises(openai.InternalServerError) as raised:
        ask(providers)
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_broken")
    assert "Traceback" not in str(raised.value)


@pytest.mark.parametrize("stream", [False, True])
def test_nobody_listens(providers: Providers, stream: bool) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        ask(providers, model="gone", stream=stream)
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_unreachable")


EVENTS = list(AnthropicStub.plain.events)
BEGUN = EVENTS[:4]
OVERLOADED = anthropic.event("error", error={"type": "overloaded_error", "message": "Overloaded"})


@pytest.mark.parametrize(
    "reply",
    [
        replace(AnthropicStub.plain, events=BEGUN),
        replace(AnthropicStub.plain, events=BEGUN, breaks=True),
        replace(AnthropicStub.plain, events=[*BEGUN, OVERLOADED]),
        replace(AnthropicStub.plain, events=[*BEGUN, b"data: {oops\n\n"]),
    ],
    ids=["ends", "breaks", "error", "malformed"],
)
def test_a_stream_that_breaks_off(providers: Providers, stub: AnthropicStub, reply: Reply) -> None:
    stub.reply = reply
    got = ""
    with pytest.raises(openai.APIError):  # noqa: PT012
        for chunk in ask(providers, stream=True):
            got += chunk.choices[0].delta.content or ""
    assert got == "a "


@pytest.mark.parametrize(
    "events", [[], EVENTS[:3], [OVERLOADED]], ids=["nothing", "no token", "error"]
)
def test_a_stream_that_never_begins(
    providers: Providers, stub: AnthropicStub, events: list[bytes]
) -> None:
    stub.reply = replace(AnthropicStub.plain, events=events)
    with pytest.raises(openai.InternalServerError) as raised:
        ask(providers, stream=True)
    assert raised.value.status_code == 502


def test_what_claude_cannot_do(providers: Providers, stub: AnthropicStub) -> None:
    for parameters in ({"n": 2}, {"logprobs": True}, {"response_format": {"type": "json_object"}}):
        with pytest.raises(openai.BadRequestError) as raised:
            ask(providers, **parameters)
        assert (raised.value.code, raised.value.param) == (
            "unsupported_parameter",
            *parameters,
        )
    with pytest.raises(openai.BadRequestError) as raised:
        ask(providers, extra_body={"api_base": "http://elsewhere"})
    assert raised.value.code == "unknown_parameter"
    assert stub.requests == []


def test_connections_are_used_again(providers: Providers, stub: AnthropicStub) -> None:
    for _ in range(10):
        ask(providers)
        streamed(providers)
    assert len(stub.requests) == 20
    assert len(stub.connections) <= 4


def test_a_caller_who_leaves_is_followed(providers: Providers, stub: AnthropicStub) -> None:
    stub.reply = replace(AnthropicStub.plain, events=BEGUN, hangs=True)
    with ask(providers, stream=True) as stream:
        assert next(iter(stream)).choices[0].delta.content == "a "
    assert stub.left.wait(10)


def test_claude_is_given_the_tools_that_may_be_chosen(
    providers: Providers, stub: AnthropicStub
) -> None:
    hear = {"type": "function", "function": {**LOOK["function"], "name": "hear"}}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "look"}}]}
    chosen = {"type": "allowed_tools", "allowed_tools": allowed}
    ask(providers, messages=HI, tools=[hear, LOOK], tool_choice=chosen)
    assert [tool["name"] for tool in stub.last.body["tools"]] == ["look"]
    assert stub.last.body["tool_choice"] == {"type": "any"}


SOUND: Any = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"tools": [LOOK, {"type": "custom", "custom": {"name": "write"}}]}, "tools[1].type"),
        (
            {"messages": [*HI, {"role": "user", "content": [text("Hear"), SOUND]}]},
            "messages[1].content[1].type",
        ),
    ],
    ids=["custom tool", "sound"],
)
def test_what_claude_cannot_read(
    providers: Providers, stub: AnthropicStub, parameters: Any, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        ask(providers, **parameters)
    assert (raised.value.code, raised.value.param) == ("unsupported_parameter", param)
    assert stub.requests == []


CALLING: Any = {"role": "assistant", "tool_calls": [CALL]}
BROKEN_CALL: Any = {**CALL, "function": {"name": "look", "arguments": '{"at": '}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([{"role": "system", "content": "Be brief."}], "at least one non-system message"),
        ([{"role": "wizard", "content": "hi"}], "Invalid Message"),
        ([*HI, {"role": "assistant", "tool_calls": [BROKEN_CALL]}], "tool call arguments"),
        ([*HI, CALLING, {"role": "tool", "content": "furry"}], "tool_call_id"),
        ([{"role": "user", "content": [IMAGE_WITHOUT_DATA]}], "Image url"),
    ],
    ids=["system alone", "role", "arguments", "no call", "image"],
)
def test_what_cannot_be_said_to_claude_is_the_requests_fault(
    providers: Providers, stub: AnthropicStub, messages: Any, said: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError, match=said):
        ask(providers, messages=messages, stream=stream)
    assert stub.requests == []
