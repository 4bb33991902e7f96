"""Anthropic's Messages API, through its own client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.clients import Client, Take
from tests.conformance.samples import ARGUMENTS, CALLING, CALLS, MESSAGES, SCHEMA
from tests.router.conftest import TEACHER
from tests.router.server import eventually
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

CREATE = "messages.create"
QUESTION: dict[str, Any] = {"model": "auto", "max_tokens": 64, "messages": MESSAGES}
TOOL: dict[str, Any] = {"name": "look", "description": "Looks.", "input_schema": SCHEMA}


@pytest.fixture
def calling(upstream: StubUpstream) -> StubUpstream:
    """An upstream that calls two tools at once."""
    upstream.message, upstream.finish_reason = CALLING, "tool_calls"
    return upstream


def test_a_message(claude: Client, upstream: StubUpstream) -> None:
    message = claude.call(
        CREATE,
        **QUESTION,
        system="Answer with one word.",
        stop_sequences=["END"],
        extra_body={"temperature": 0.5},
    )
    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", TEACHER)
    assert message["id"].startswith("msg_")
    assert [(block["type"], block["text"]) for block in message["content"]] == [("text", "cat")]
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["input_tokens"] == PROMPT_TOKENS
    assert message["usage"]["output_tokens"] == COMPLETION_TOKENS
    sent = upstream.requests[-1].body
    assert [each["role"] for each in sent["messages"]] == ["system", "user"]
    assert (sent["stop"], sent["temperature"]) == (["END"], 0.5)
    assert 64 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))


def test_a_stream(claude: Client) -> None:
    events = claude.stream(CREATE, **QUESTION)
    kinds = [event["type"] for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    deltas = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(deltas) == "cat"
    assert events[-2]["delta"]["stop_reason"] == "end_turn"
    assert events[-2]["usage"]["output_tokens"] == COMPLETION_TOKENS


def test_the_streaming_helper(claude: Client) -> None:
    final = claude.helper("messages.stream", **QUESTION).value
    assert final["content"][0]["text"] == "cat"
    assert final["stop_reason"] == "end_turn"


def test_parallel_tool_calls(claude: Client, calling: StubUpstream) -> None:
    message = claude.call(CREATE, **QUESTION, tools=[TOOL], tool_choice={"type": "auto"})
    assert [(block["id"], block["name"], block["input"]) for block in message["content"]] == [
        (call["id"], "look", json.loads(call["function"]["arguments"])) for call in CALLS
    ]
    assert message["stop_reason"] == "tool_use"
    assert calling.requests[-1].body["tools"][0]["function"]["parameters"] == SCHEMA


def test_parallel_tool_calls_in_a_stream(claude: Client, calling: StubUpstream) -> None:
    final = claude.helper("messages.stream", **QUESTION, tools=[TOOL]).value
    inputs = [block["input"] for block in final["content"] if block["type"] == "tool_use"]
    assert inputs == [json.loads(arguments) for arguments in ARGUMENTS]
    assert final["stop_reason"] == "tool_use"


def test_the_result_of_a_tool(claude: Client, upstream: StubUpstream) -> None:
    blocks = [
        {"type": "tool_use", "id": call["id"], "name": "look", "input": json.loads(arguments)}
        for call, arguments in zip(CALLS, ARGUMENTS, strict=True)
    ]
    results = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": "whiskers"} for call in CALLS
    ]
    turns = [
        *MESSAGES,
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": [*results, {"type": "text", "text": "so, a cat?"}]},
    ]
    message = claude.call(CREATE, **{**QUESTION, "messages": turns}, tools=[TOOL])
    assert message["content"][0]["text"] == "cat"
    sent = upstream.requests[-1].body["messages"]
    assert [each["role"] for each in sent] == ["user", "assistant", "tool", "tool", "user"]
    assert [call["function"]["name"] for call in sent[1]["tool_calls"]] == ["look", "look"]


def test_an_image(claude: Client, upstream: StubUpstream) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    parts = [{"type": "image", "source": source}, {"type": "text", "text": "is it a cat?"}]
    claude.call(CREATE, **{**QUESTION, "messages": [{"role": "user", "content": parts}]})
    sent = upstream.requests[-1].body["messages"][-1]["content"]
    assert sent[0]["image_url"]["url"] == "data:image/png;base64,AAAA"


def test_request_ids(claude: Client) -> None:
    ids = {claude.outcome(CREATE, **QUESTION).request_id for _ in range(2)}
    assert len(ids) == 2
    assert all((identifier or "").startswith("req_") for identifier in ids)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "BadRequestError"),
        (403, "PermissionDeniedError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
    ],
)
def test_what_the_upstream_refuses(
    claude: Client, upstream: StubUpstream, status: int, kind: str
) -> None:
    upstream.status = status
    failure = claude.refused(CREATE, **QUESTION)
    assert (failure.kind, failure.status) == (kind, status)
    assert "The stub is out of order." in failure.message


def test_errors_have_anthropics_shape(claude: Client) -> None:
    failure = claude.refused(CREATE, **{**QUESTION, "model": "none"})
    assert (failure.kind, failure.type) == ("NotFoundError", "not_found_error")
    assert (failure.request_id or "").startswith("req_")
    failure = claude.refused(CREATE, **{**QUESTION, "messages": []})
    assert (failure.kind, failure.type) == ("BadRequestError", "invalid_request_error")


def test_a_body_that_is_too_large(claude: Client) -> None:
    message = {"role": "user", "content": "a cat " * 500_000}
    failure = claude.refused(CREATE, **{**QUESTION, "messages": [message]})
    assert (failure.status, failure.type) == (413, "request_too_large")


def test_a_stream_that_breaks(claude: Client, upstream: StubUpstream) -> None:
    upstream.break_after = 2
    outcome = claude.attempt(CREATE, **QUESTION, stream=True, take=Take(stream=True))
    assert outcome.failure is not None
    assert outcome.events
    assert outcome.events[-1]["type"] != "message_stop"


def test_a_caller_who_hangs_up_ends_the_upstreams_stream(
    claude: Client, upstream: StubUpstream
) -> None:
    upstream.answer = lambda _: "a" * 1000
    upstream.gap_s = 0.02
    claude.outcome(CREATE, **QUESTION, stream=True, take=Take(stream=True, most=4))
    assert eventually(lambda: upstream.hung_up == 1)


def test_retries_are_the_clients(claude: Client, upstream: StubUpstream) -> None:
    upstream.status = 503
    upstream.error_headers = {"retry-after-ms": "1"}
    claude.refused(CREATE, **QUESTION, options={"max_retries": 2})
    assert len(upstream.requests) == 3


def test_a_client_that_will_not_wait(claude: Client, upstream: StubUpstream) -> None:
    upstream.delay_s = 1.0
    assert claude.refused(CREATE, **QUESTION, options={"timeout": 0.2}).kind == "APITimeoutError"


def test_tokens_are_counted(claude: Client) -> None:
    asked = {"model": "auto", "messages": MESSAGES}
    few = claude.call("messages.count_tokens", **asked)["input_tokens"]
    many = claude.call("messages.count_tokens", **asked, system="Be brief. " * 500)["input_tokens"]
    assert 0 < few < many
    assert claude.refused("messages.count_tokens", model="auto", messages=[]).status == 400


def test_models(claude: Client) -> None:
    names = [model["id"] for model in claude.pages("models.list")]
    assert {"auto", TEACHER} <= set(names)
    model = claude.call("models.retrieve", TEACHER)
    assert (model["id"], model["type"]) == (TEACHER, "model")
    assert claude.refused("models.retrieve", "none").kind == "NotFoundError"
