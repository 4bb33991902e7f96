"""The Responses API, through every client."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from tests.conformance.clients import Client, Take
from tests.conformance.samples import ARGUMENTS, CALLING, FUNCTION, SCHEMA
from tests.router.conftest import TEACHER
from tests.router.server import eventually
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

CREATE = "responses.create"
QUESTION: dict[str, Any] = {"model": "auto", "input": "is it a cat?"}
TOOL: dict[str, Any] = {"type": "function", **FUNCTION}


class Animal(BaseModel):
    animal: Literal["cat", "dog"]


def text_of(response: dict[str, Any]) -> str:
    return "".join(
        part["text"]
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
    )


@pytest.fixture
def calling(upstream: StubUpstream) -> StubUpstream:
    """An upstream that calls two tools at once."""
    upstream.message, upstream.finish_reason = CALLING, "tool_calls"
    return upstream


def test_a_response(client: Client, upstream: StubUpstream) -> None:
    response = client.call(CREATE, **QUESTION, instructions="Answer with one word.")
    assert response["object"] == "response"
    assert response["id"].startswith("resp_")
    assert response["status"] == "completed"
    assert response["model"] == TEACHER
    assert text_of(response) == "cat"
    assert response["usage"]["input_tokens"] == PROMPT_TOKENS
    assert response["usage"]["output_tokens"] == COMPLETION_TOKENS
    assert [message["role"] for message in upstream.requests[-1].body["messages"]] == [
        "system",
        "user",
    ]


def test_a_stream(client: Client) -> None:
    events = client.stream(CREATE, **QUESTION)
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == "cat"
    assert text_of(events[-1]["response"]) == "cat"
    assert events[-1]["response"]["usage"]["output_tokens"] == COMPLETION_TOKENS


def test_the_streaming_helper(client: Client) -> None:
    outcome = client.helper("responses.stream", **QUESTION)
    assert text_of(outcome.value) == "cat"


def test_parallel_tool_calls(client: Client, calling: StubUpstream) -> None:
    response = client.call(CREATE, **QUESTION, tools=[TOOL])
    called = [item for item in response["output"] if item["type"] == "function_call"]
    assert [(item["name"], item["arguments"]) for item in called] == [
        ("look", arguments) for arguments in ARGUMENTS
    ]
    assert calling.requests[-1].body["tools"][0]["function"]["name"] == "look"


def test_parallel_tool_calls_in_a_stream(client: Client, calling: StubUpstream) -> None:
    events = client.stream(CREATE, **QUESTION, tools=[TOOL])
    done = [
        event["arguments"]
        for event in events
        if event["type"] == "response.function_call_arguments.done"
    ]
    assert done == ARGUMENTS
    outcome = client.helper("responses.stream", **QUESTION, tools=[TOOL])
    called = [item for item in outcome.value["output"] if item["type"] == "function_call"]
    assert [item["arguments"] for item in called] == ARGUMENTS


def test_the_result_of_a_tool(client: Client, upstream: StubUpstream) -> None:
    upstream.message, upstream.finish_reason = CALLING, "tool_calls"
    first = client.call(CREATE, **QUESTION, tools=[TOOL])
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "whiskers"}
        for item in first["output"]
        if item["type"] == "function_call"
    ]
    upstream.message, upstream.finish_reason = None, "stop"
    second = client.call(
        CREATE, model="auto", input=results, previous_response_id=first["id"], tools=[TOOL]
    )
    assert second["previous_response_id"] == first["id"]
    assert [message["role"] for message in upstream.requests[-1].body["messages"]] == [
        "user",
        "assistant",
        "tool",
        "tool",
    ]


def test_a_conversation(client: Client, upstream: StubUpstream) -> None:
    first = client.call(CREATE, **QUESTION)
    client.call(CREATE, model="auto", input="and a dog?", previous_response_id=first["id"])
    assert [message["content"] for message in upstream.requests[-1].body["messages"]] == [
        "is it a cat?",
        "cat",
        "and a dog?",
    ]


def test_the_life_of_a_stored_response(client: Client) -> None:
    made = client.call(CREATE, **QUESTION, metadata={"made_by": client.name})
    stored = client.call("responses.retrieve", made["id"])
    assert text_of(stored) == "cat"
    assert stored["metadata"] == {"made_by": client.name}
    (item,) = client.pages("responses.input_items.list", made["id"])
    assert item["role"] == "user"
    assert item["content"][0]["text"] == "is it a cat?"
    client.call("responses.delete", made["id"])
    assert client.refused("responses.retrieve", made["id"]).kind == "NotFoundError"
    failure = client.refused(
        CREATE, model="auto", input="and a dog?", previous_response_id=made["id"]
    )
    assert failure.param == "previous_response_id"


def test_what_is_not_to_be_stored_is_not(client: Client) -> None:
    made = client.call(CREATE, **QUESTION, store=False)
    assert client.refused("responses.retrieve", made["id"]).kind == "NotFoundError"


def test_json(client: Client, upstream: StubUpstream) -> None:
    upstream.answer = lambda _: '{"where": "on the roof"}'
    text_format = {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}
    response = client.call(CREATE, **QUESTION, text={"format": text_format})
    assert json.loads(text_of(response)) == {"where": "on the roof"}
    sent = upstream.requests[-1].body["response_format"]
    assert sent["json_schema"] == {"name": "place", "schema": SCHEMA, "strict": True}


def test_parsed_responses(python_client: Client, upstream: StubUpstream) -> None:
    upstream.answer = lambda _: '{"animal": "cat"}'
    response = python_client.call("responses.parse", **QUESTION, text_format=Animal)
    assert response["output"][-1]["content"][0]["parsed"] == {"animal": "cat"}
    streamed = python_client.helper("responses.stream", **QUESTION, text_format=Animal)
    assert streamed.value["output"][-1]["content"][0]["parsed"] == {"animal": "cat"}


def test_parts(client: Client, upstream: StubUpstream) -> None:
    parts = [
        {"type": "input_text", "text": "is it a cat?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
        {"type": "input_file", "filename": "cat.pdf", "file_data": "AAAA"},
    ]
    client.call(CREATE, model="auto", input=[{"role": "user", "content": parts}])
    sent = upstream.requests[-1].body["messages"][-1]["content"]
    assert [part["type"] for part in sent] == ["text", "image_url", "file"]


def test_errors(client: Client, upstream: StubUpstream) -> None:
    assert client.refused(CREATE, model="none", input="x").kind == "NotFoundError"
    failure = client.refused(CREATE, **QUESTION, max_output_tokens=-1)
    assert (failure.kind, failure.param) == ("BadRequestError", "max_output_tokens")
    upstream.status = 429
    assert client.refused(CREATE, **QUESTION).kind == "RateLimitError"


def test_a_stream_that_breaks(client: Client, upstream: StubUpstream) -> None:
    upstream.break_after = 2
    outcome = client.attempt(CREATE, **QUESTION, stream=True, take=Take(stream=True))
    kinds = [event["type"] for event in outcome.events]
    assert "response.completed" not in kinds
    assert outcome.failure is not None or {"error", "response.failed"} & set(kinds)


def test_a_caller_who_hangs_up_ends_the_upstreams_stream(
    client: Client, upstream: StubUpstream
) -> None:
    upstream.answer = lambda _: "a" * 1000
    upstream.gap_s = 0.02
    client.outcome(CREATE, **QUESTION, stream=True, take=Take(stream=True, most=8))
    assert eventually(lambda: upstream.hung_up == 1)
