"""Chat completions, through every client."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from tests.conformance.clients import Client, Take
from tests.conformance.samples import CALLING, CALLS, QUESTION, SCHEMA, TOOL
from tests.router.conftest import TEACHER
from tests.router.server import eventually
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

CREATE = "chat.completions.create"
USAGE = {
    "prompt_tokens": PROMPT_TOKENS,
    "completion_tokens": COMPLETION_TOKENS,
    "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
}


class Animal(BaseModel):
    animal: Literal["cat", "dog"]


class look(BaseModel):  # noqa: N801
    """Looks whether there is an animal."""

    where: str


def texts(chunks: list[dict[str, Any]], index: int = 0) -> str:
    """The text of one choice of a stream."""
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(
        choice["delta"].get("content") or "" for choice in choices if choice["index"] == index
    )


@pytest.fixture
def calling(upstream: StubUpstream) -> StubUpstream:
    """An upstream that calls two tools at once."""
    upstream.message, upstream.finish_reason = CALLING, "tool_calls"
    return upstream


def test_an_answer(client: Client) -> None:
    answer = client.call(CREATE, **QUESTION)
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == TEACHER
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == "cat"
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == USAGE


def test_every_answer_has_a_request_id(client: Client) -> None:
    ids = [client.outcome(CREATE, **QUESTION).request_id for _ in range(2)]
    ids.append(client.outcome(CREATE, **QUESTION, stream=True, take=Take(stream=True)).request_id)
    ids.append(client.outcome("models.retrieve", "auto").request_id)
    assert all(re.fullmatch("req_[0-9a-f]{32}", identifier or "") for identifier in ids)
    assert len(set(ids)) == len(ids)


def test_a_stream(client: Client) -> None:
    chunks = client.stream(CREATE, **QUESTION)
    assert texts(chunks) == "cat"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert not any(chunk.get("usage") for chunk in chunks)


def test_usage_comes_at_the_end_of_a_stream_that_asks_for_it(client: Client) -> None:
    chunks = client.stream(CREATE, **QUESTION, stream_options={"include_usage": True})
    assert [bool(chunk.get("usage")) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1]["usage"] == USAGE
    assert chunks[-1]["choices"] == []


def test_the_streaming_helper(client: Client) -> None:
    outcome = client.helper("chat.completions.stream", **QUESTION)
    assert outcome.value["choices"][0]["message"]["content"] == "cat"
    assert outcome.value["choices"][0]["finish_reason"] == "stop"


def test_parallel_tool_calls(client: Client, calling: StubUpstream) -> None:
    answer = client.call(CREATE, **QUESTION, tools=[TOOL], parallel_tool_calls=True)
    (choice,) = answer["choices"]
    assert choice["message"]["tool_calls"] == CALLS
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "tool_calls"


def test_parallel_tool_calls_in_a_stream(client: Client, calling: StubUpstream) -> None:
    chunks = client.stream(CREATE, **QUESTION, tools=[TOOL])
    arguments = ["", ""]
    names = []
    for chunk in chunks:
        for piece in chunk["choices"][0]["delta"].get("tool_calls") or []:
            arguments[piece["index"]] += piece["function"].get("arguments") or ""
            names += [piece["function"]["name"]] if piece["function"].get("name") else []
    assert arguments == [call["function"]["arguments"] for call in CALLS]
    assert names == ["look", "look"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_the_streaming_helper_puts_tool_calls_together(
    client: Client, calling: StubUpstream
) -> None:
    outcome = client.helper("chat.completions.stream", **QUESTION, tools=[TOOL])
    called = outcome.value["choices"][0]["message"]["tool_calls"]
    assert [(call["id"], call["function"]["arguments"]) for call in called] == [
        (call["id"], call["function"]["arguments"]) for call in CALLS
    ]


def test_parsed_tool_calls(python_client: Client, calling: StubUpstream) -> None:
    answer = python_client.call("chat.completions.parse", **QUESTION, tools=[TOOL])
    called = answer["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["parsed_arguments"] for call in called] == [
        json.loads(call["function"]["arguments"]) for call in CALLS
    ]


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}},
    ],
    ids=lambda value: value["type"],
)
def test_json(client: Client, upstream: StubUpstream, response_format: dict[str, Any]) -> None:
    upstream.answer = lambda _: '{"where": "on the roof"}'
    answer = client.call(CREATE, **QUESTION, response_format=response_format)
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"where": "on the roof"}
    assert upstream.requests[-1].body["response_format"] == response_format


def test_parsed_answers(python_client: Client, upstream: StubUpstream) -> None:
    upstream.answer = lambda _: '{"animal": "cat"}'
    answer = python_client.call("chat.completions.parse", **QUESTION, response_format=Animal)
    assert answer["choices"][0]["message"]["parsed"] == {"animal": "cat"}
    sent = upstream.requests[-1].body["response_format"]["json_schema"]
    assert sent["schema"]["properties"]["animal"]["enum"] == ["cat", "dog"]
    streamed = python_client.helper("chat.completions.stream", **QUESTION, response_format=Animal)
    assert streamed.value["choices"][0]["message"]["parsed"] == {"animal": "cat"}


def test_log_probabilities(client: Client) -> None:
    answer = client.call(CREATE, **QUESTION, logprobs=True, top_logprobs=2)
    tokens = answer["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == "cat"
    assert all(len(token["top_logprobs"]) == 2 for token in tokens)
    chunks = client.stream(CREATE, **QUESTION, logprobs=True)
    streamed = [
        token["token"]
        for chunk in chunks
        for token in (chunk["choices"][0].get("logprobs") or {}).get("content", [])
    ]
    assert "".join(streamed) == "cat"


def test_no_log_probabilities_without_asking(client: Client) -> None:
    answer = client.call(CREATE, **QUESTION)
    assert answer["choices"][0].get("logprobs") is None


def test_several_choices(client: Client) -> None:
    answer = client.call(CREATE, **QUESTION, n=3)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    chunks = client.stream(CREATE, **QUESTION, n=2)
    assert [texts(chunks, index) for index in range(2)] == ["cat", "cat"]


def test_reasoning_reaches_the_caller(client: Client, upstream: StubUpstream) -> None:
    upstream.message = {"role": "assistant", "content": "cat", "reasoning_content": "whiskers"}
    answer = client.call(CREATE, **QUESTION, reasoning_effort="high")
    assert answer["choices"][0]["message"]["reasoning_content"] == "whiskers"


def test_a_caller_who_hangs_up_ends_the_upstreams_stream(
    client: Client, upstream: StubUpstream
) -> None:
    upstream.answer = lambda _: "a" * 1000
    upstream.gap_s = 0.02
    outcome = client.outcome(CREATE, **QUESTION, stream=True, take=Take(stream=True, most=3))
    assert len(outcome.events) == 3
    assert eventually(lambda: upstream.hung_up == 1)
