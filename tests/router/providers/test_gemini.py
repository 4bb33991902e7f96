"""Gemini by its name, before a server that speaks Google's Gemini API."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import openai
import pytest

from tests.router.providers import gemini
from tests.router.providers.conftest import KEY, Providers
from tests.router.providers.gemini import GeminiStub, function_call, text, thought
from tests.router.providers.stub import Reply
from tests.router.providers.turns import (
    AS_SCHEMA,
    CONVERSATION,
    HI,
    IMAGE_WITHOUT_DATA,
    LOOK,
    PNG,
    SCHEMA,
    put_together,
)


@pytest.fixture
def stub(providers: Providers) -> GeminiStub:
    stub = providers.stubs["gemini"]
    assert isinstance(stub, GeminiStub)
    return stub


def ask(providers: Providers, **parameters: Any) -> Any:
    return providers.ask(**{"model": "gemini", **parameters})


def streamed(providers: Providers, **parameters: Any) -> dict[str, Any]:
    return providers.streamed(**{"model": "gemini", **parameters})


def test_what_gemini_is_asked(providers: Providers, stub: GeminiStub) -> None:
    ask(
        providers,
        messages=CONVERSATION,
        tools=[LOOK],
        tool_choice="required",
        max_completion_tokens=300,
        stop=["END"],
        temperature=0.2,
        seed=7,
        n=2,
        response_format=AS_SCHEMA,
        reasoning_effort="low",
        service_tier="auto",
    )
    assert stub.last.path == "/v1beta/models/gemini-3.8-flash:generateContent"
    assert stub.last.headers["x-goog-api-key"] == KEY
    assert KEY not in stub.last.query.values()
    body = stub.last.body
    assert body["system_instruction"] == {"parts": [text("Be brief.")]}
    asked, called, looked = body["contents"]
    image = {"inline_data": {"data": PNG, "mime_type": "image/png"}}
    assert asked == {"role": "user", "parts": [text("What is it?"), image]}
    assert called["role"] == "model"
    assert called["parts"][0] == text("Let me look.")
    assert called["parts"][1]["function_call"]["args"] == {"at": "the cat"}
    answered = looked["parts"][0]["function_response"]
    assert (answered["name"], answered["response"]) == ("look", {"content": "furry"})
    (tool,) = body["tools"]
    assert tool["function_declarations"] == [LOOK["function"]]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    # Gemini 3 and later take no temperature.
    assert body["generationConfig"] == {
        "candidate_count": 2,
        "stop_sequences": ["END"],
        "max_output_tokens": 300,
        "response_mime_type": "application/json",
        "response_json_schema": SCHEMA,
        "seed": 7,
        "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True},
    }
    # Priority costs more: it is not what "auto" asks for.
    assert "serviceTier" not in body


def test_a_stream_says_what_a_completion_says(providers: Providers, stub: GeminiStub) -> None:
    stub.reply = gemini.content(
        thought("Let me see."), text("I look."), function_call("look", {"at": "it"}, "c2ln")
    )
    client = providers.client().chat.completions.with_raw_response
    asked: Any = {"model": "gemini", "messages": HI, "tools": [LOOK], "reasoning_effort": "low"}
    whole = client.create(**asked)
    stream = client.create(**asked, stream=True, stream_options={"include_usage": True})

    (choice,) = whole.parse().choices
    assert choice.message.content == "I look."
    assert choice.message.reasoning_content == "Let me see."
    (call,) = choice.message.tool_calls
    assert json.loads(call.function.arguments) == {"at": "it"}
    usage = whole.parse().usage
    # Thoughts are paid for as well.
    assert (usage.prompt_tokens, usage.completion_tokens) == (40, 9 + 6)
    assert usage.prompt_tokens_details.cached_tokens == 15
    assert usage.completion_tokens_details.reasoning_tokens == 6

    got = put_together(stream.parse())
    assert (got["text"], got["reasoning"]) == ("I look.", "Let me see.")
    (piece,) = got["calls"]
    assert (piece["name"], piece["arguments"]) == ("look", call.function.arguments)
    assert got["finish_reason"] == choice.finish_reason == "tool_calls"
    assert got["usage"] == usage

    for raw in (whole, stream):
        exchange = providers.exchange(raw.headers["x-request-id"])
        assert exchange.choices is not None
        (kept,) = json.loads(exchange.choices)
        assert kept["message"]["reasoning_content"] == "Let me see."
        (kept_call,) = kept["message"]["tool_calls"]
        assert kept_call["provider_specific_fields"] == {"thought_signature": "c2ln"}
        assert exchange.cost > 0

    # The signature goes back with the id of the call.
    told = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
    result = {"role": "tool", "tool_call_id": call.id, "content": "furry"}
    ask(providers, messages=[*HI, told, result], tools=[LOOK])
    (part,) = stub.last.body["contents"][1]["parts"]
    assert part["thoughtSignature"] == "c2ln"


def test_several_choices(providers: Providers, stub: GeminiStub) -> None:
    one, other = (gemini.content(text(said)).whole for said in ("a cat", "a dog"))
    assert isinstance(one, dict)
    assert isinstance(other, dict)
    other["candidates"][0]["index"] = 1
    stub.reply = Reply({**one, "candidates": one["candidates"] + other["candidates"]})
    choices = ask(providers, n=2).choices
    assert [choice.message.content for choice in choices] == ["a cat", "a dog"]


@pytest.mark.parametrize(
    ("theirs", "ours"), [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter")]
)
def test_why_an_answer_ends(providers: Providers, stub: GeminiStub, theirs: str, ours: str) -> None:
    stub.reply = gemini.content(text("a "), text("cat"), finish_reason=theirs)
    assert ask(providers).choices[0].finish_reason == ours
    assert streamed(providers)["finish_reason"] == ours


def test_a_blocked_prompt(providers: Providers, stub: GeminiStub) -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": gemini.USAGE}
    stub.reply = Reply(blocked, [gemini.event(blocked)])
    assert ask(providers).choices[0].finish_reason == "content_filter"
    assert streamed(providers)["finish_reason"] == "content_filter"


EXHAUSTED = gemini.error(429, "RESOURCE_EXHAUSTED", "slow down")
assert isinstance(EXHAUSTED.whole, dict)
EXHAUSTED.whole["error"]["details"] = [
    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "6.5s"}
]
TOO_LONG = "The input token count (12) exceeds the maximum number of tokens allowed (10)."
ERRORS = [
    (gemini.error(400, "INVALID_ARGUMENT", "API key not valid."), "INVALID_ARGUMENT"),
    (gemini.error(400, "INVALID_ARGUMENT", TOO_LONG), "context_length_exceeded"),
    (gemini.error(403, "PERMISSION_DENIED", f"{KEY} may not"), "PERMISSION_DENIED"),
    (gemini.error(404, "NOT_FOUND", "no such model"), "NOT_FOUND"),
    (EXHAUSTED, "rate_limit_exceeded"),
    (gemini.error(500, "INTERNAL", "An internal error."), "INTERNAL"),
    (gemini.error(503, "UNAVAILABLE", "The model is overloaded."), "UNAVAILABLE"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("reply", "code"), ERRORS)
def test_errors_pass_on(
    providers: Providers, stub: GeminiStub, reply: Reply, code: str, stream: bool
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
    told = "7" if reply is EXHAUSTED else None
    assert raised.value.response.headers.get("retry-after") == told


@pytest.mark.parametrize("reply", [Reply(b"{not json"), Reply({"x": 1})])
def test_what_is_no_answer(providers: Providers, stub: GeminiStub, reply: Reply) -> None:
    stub.reply = reply
    with pytest.raises(openai.InternalServerError) as raised:
        ask(providers)
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_broken")


BEGUN = list(GeminiStub.plain.events)[:1]
OVERLOADED = gemini.event({"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}})


@pytest.mark.parametrize(
    "reply",
    [
        replace(GeminiStub.plain, events=BEGUN),
        replace(GeminiStub.plain, events=BEGUN, breaks=True),
        replace(GeminiStub.plain, events=[*BEGUN, OVERLOADED]),
        replace(GeminiStub.plain, events=[*BEGUN, b"data: {oops\r\n\r\n"]),
    ],
    ids=["ends", "breaks", "error", "malformed"],
)
def test_a_stream_that_breaks_off(providers: Providers, stub: GeminiStub, reply: Reply) -> None:
    stub.reply = reply
    got = ""
    with pytest.raises(openai.APIError):  # noqa: PT012
        for chunk in ask(providers, stream=True):
            got += chunk.choices[0].delta.content or ""
    assert got == "a "


def test_a_stream_that_never_begins(providers: Providers, stub: GeminiStub) -> None:
    stub.reply = replace(GeminiStub.plain, events=[])
    with pytest.raises(openai.InternalServerError) as raised:
        ask(providers, stream=True)
    assert raised.value.status_code == 502


@pytest.mark.parametrize("parameters", [{"n": 2, "stream": True}, {"logit_bias": {"1": 2}}])
def test_what_gemini_cannot_do(
    providers: Providers, stub: GeminiStub, parameters: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        ask(providers, **parameters)
    assert raised.value.code == "unsupported_parameter"
    assert raised.value.param == next(iter(parameters))
    assert stub.requests == []


@pytest.mark.parametrize("kind", ["video_url", "hologram"])
def test_what_gemini_cannot_read(providers: Providers, stub: GeminiStub, kind: str) -> None:
    parts: Any = [{"type": "text", "text": "What is it?"}, {"type": kind, kind: {"url": "x"}}]
    with pytest.raises(openai.BadRequestError) as raised:
        ask(providers, messages=[{"role": "user", "content": parts}])
    assert raised.value.code == "unsupported_parameter"
    assert raised.value.param == "messages[0].content[1].type"
    assert stub.requests == []


def test_what_cannot_be_said_to_gemini_is_the_requests_fault(
    providers: Providers, stub: GeminiStub
) -> None:
    messages: Any = [{"role": "user", "content": [IMAGE_WITHOUT_DATA]}]
    with pytest.raises(openai.BadRequestError, match="Invalid image"):
        ask(providers, messages=messages)
    assert stub.requests == []


def test_connections_are_used_again(providers: Providers, stub: GeminiStub) -> None:
    for _ in range(10):
        ask(providers)
        streamed(providers)
    assert len(stub.requests) == 20
    assert len(stub.connections) <= 4
