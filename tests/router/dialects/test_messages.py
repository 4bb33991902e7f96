"""The Messages API through Anthropic's own client, before a real server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message
from pydantic import BaseModel

from telemetry.store import Store
from tests.router.conftest import TEACHER, teacher_flags
from tests.router.server import Server
from tests.router.taught import SENTENCES, TASK, promote
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

PNG = "iVBORw0KGgo="
WEATHER: Any = {
    "name": "weather",
    "description": "The weather now.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def anthropic_client(server: Server, **options: Any) -> anthropic.Anthropic:
    url = server.url.removesuffix("/v1")
    return anthropic.Anthropic(base_url=url, api_key="key", **{"max_retries": 0, **options})


@pytest.fixture
def client(server: Server) -> anthropic.Anthropic:
    return anthropic_client(server)


def asking(content: Any = "a cat?", **parameters: Any) -> Any:
    messages = [{"role": "user", "content": content}]
    return {"model": TEACHER, "max_tokens": 100, "messages": messages, **parameters}


def test_a_message(client: anthropic.Anthropic, upstream: StubUpstream) -> None:
    message = client.messages.create(**asking(system="Classify.", extra_body={"temperature": 0.5}))
    Message.model_validate_json(message.model_dump_json())
    assert message.id.startswith("msg_")
    assert message.model == TEACHER
    assert [block.model_dump(exclude_none=True) for block in message.content] == [
        {"type": "text", "text": "cat"}
    ]
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens == PROMPT_TOKENS
    assert message.usage.output_tokens == COMPLETION_TOKENS
    assert upstream.requests[-1].body == {
        "model": TEACHER,
        "messages": [
            {"role": "system", "content": "Classify."},
            {"role": "user", "content": "a cat?"},
        ],
        "max_completion_tokens": 100,
        "temperature": 0.5,
    }


def test_a_stream(client: anthropic.Anthropic, upstream: StubUpstream) -> None:
    upstream.byte_by_byte = True
    with client.messages.stream(**asking()) as stream:
        said = list(stream.text_stream)
        message = stream.get_final_message()
    assert said == ["c", "a", "t"]
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens == PROMPT_TOKENS
    assert message.usage.output_tokens == COMPLETION_TOKENS


def test_an_asynchronous_client(server: Server, upstream: StubUpstream) -> None:
    url = server.url.removesuffix("/v1")

    async def ask() -> tuple[Message, str]:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="key") as client:
            message = await client.messages.create(**asking())
            async with client.messages.stream(**asking("a dog?")) as stream:
                return message, await stream.get_final_text()

    message, text = asyncio.run(ask())
    assert message.content[0].type == "text"
    assert (message.content[0].text, text) == ("cat", "dog")


@pytest.mark.parametrize("stream", [False, True])
def test_a_round_trip_with_a_tool(
    client: anthropic.Anthropic, upstream: StubUpstream, stream: bool
) -> None:
    function = {"name": "weather", "arguments": '{"city": "Paris"}'}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    upstream.message = {"role": "assistant", "content": None, "tool_calls": calls}
    upstream.finish_reason = "tool_calls"
    request = asking("How is Paris?", tools=[WEATHER], tool_choice={"type": "any"})
    if stream:
        with client.messages.stream(**request) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**request)
    assert message.stop_reason == "tool_use"
    [block] = message.content
    assert block.type == "tool_use"
    assert (block.id, block.name, block.input) == ("call_1", "weather", {"city": "Paris"})
    assert upstream.requests[-1].body["tool_choice"] == "required"

    upstream.reset()
    result = {"type": "tool_result", "tool_use_id": block.id, "content": "a cat on every roof"}
    request["messages"] += [message.to_param(), {"role": "user", "content": [result]}]
    second = client.messages.create(**{**request, "tool_choice": {"type": "auto"}})
    assert second.content[0].type == "text"
    assert second.content[0].text == "cat"
    asked = upstream.requests[-1].body["messages"]
    assert json.loads(asked[1]["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}
    assert asked[2] == {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": "a cat on every roof",
    }


def test_anthropics_tool_runner_says_all_that_was_said(
    client: anthropic.Anthropic, upstream: StubUpstream
) -> None:
    @anthropic.beta_tool
    def weather(city: str) -> str:
        """The weather now."""
        upstream.message = None
        return f"a cat on every roof of {city}"

    function = {"name": "weather", "arguments": '{"city": "Paris"}'}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    upstream.message = {"role": "assistant", "content": None, "tool_calls": calls}
    upstream.finish_reason = "tool_calls"
    # It would have the server keep the conversation, and goes on without where that is refused.
    runner = client.beta.messages.tool_runner(**asking("How is Paris?", tools=[weather]))
    assert runner.until_done().content[0].to_dict()["text"] == "cat"
    asked = upstream.requests[-1].body
    assert [message["role"] for message in asked["messages"]] == ["user", "assistant", "tool"]
    assert asked["tools"][0]["function"]["name"] == "weather"


def test_an_image(client: anthropic.Anthropic, upstream: StubUpstream) -> None:
    image = {"type": "base64", "media_type": "image/png", "data": PNG}
    content = [{"type": "text", "text": "What is this?"}, {"type": "image", "source": image}]
    client.messages.create(**asking(content))
    [message] = upstream.requests[-1].body["messages"]
    assert message["content"][1] == {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{PNG}"},
    }


def test_a_parsed_answer(client: anthropic.Anthropic, upstream: StubUpstream) -> None:
    class Animal(BaseModel):
        name: str

    upstream.answer = lambda _text: '{"name": "cat"}'
    message = client.messages.parse(**asking(), output_format=Animal)
    assert message.parsed_output == Animal(name="cat")
    asked = upstream.requests[-1].body["response_format"]
    assert asked["json_schema"]["strict"] is True
    assert asked["json_schema"]["schema"]["required"] == ["name"]


def test_reasoning_is_thinking(client: anthropic.Anthropic, upstream: StubUpstream) -> None:
    upstream.message = {"role": "assistant", "content": "cat", "reasoning_content": "It purrs."}
    message = client.messages.create(**asking())
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].type == "thinking"
    assert message.content[0].thinking == "It purrs."


def test_the_exchange_keeps_both_requests(
    client: anthropic.Anthropic, server: Server, upstream: StubUpstream
) -> None:
    raw = client.messages.with_raw_response.create(**asking("a cat, kept"))
    store = server.store()
    exchange = store.exchange(raw.headers["x-request-id"])
    store.close()
    assert exchange is not None
    assert exchange.dialect == "messages"
    assert json.loads(exchange.original or "") == asking("a cat, kept")
    assert json.loads(exchange.request or "")["messages"] == [
        {"role": "user", "content": "a cat, kept"}
    ]
    assert exchange.teacher_answer == "cat"
    assert raw.headers["request-id"] == exchange.id
    assert raw.parse().id == f"msg_{exchange.id.removeprefix('req_')}"


def test_a_student_answers(tmp_path: Path, upstream: StubUpstream) -> None:
    data = tmp_path / "data"
    store = Store(data)
    promote(store, data, "animals-1")
    store.close()
    with Server(data, *teacher_flags(upstream)) as server:
        client = anthropic_client(server, default_headers={"x-protege-task": TASK})
        raw = client.messages.with_raw_response.create(**asking(SENTENCES[0]))
        assert raw.headers["x-protege-route"] == "student"
        message = raw.parse()
        assert message.model == "animals-1"
        assert message.content[0].type == "text"
        assert message.content[0].text == "cat"
        with client.messages.stream(**asking(SENTENCES[0])) as stream:
            assert stream.get_final_text() == "cat"
        assert upstream.requests == []


# Errors


def failure(client: anthropic.Anthropic, **parameters: Any) -> anthropic.APIStatusError:
    with pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(**asking(**parameters))
    return raised.value


def test_a_bad_request(client: anthropic.Anthropic) -> None:
    error = failure(client, content=[{"type": "text"}])
    assert isinstance(error, anthropic.BadRequestError)
    assert error.body == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "messages.0.user.content.0.text.text: Field required",
        },
    }
    assert error.request_id is not None
    assert error.request_id.startswith("req_")


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b'{"model": "\xff"}'])
def test_no_json_object(server: Server, body: bytes) -> None:
    response = httpx.post(f"{server.url}/messages", content=body)
    assert response.status_code == 400
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_an_unknown_model(client: anthropic.Anthropic) -> None:
    error = failure(client, model="nobody")
    assert isinstance(error, anthropic.NotFoundError)
    assert error.type == "not_found_error"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
        (529, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_upstream(
    client: anthropic.Anthropic, upstream: StubUpstream, status: int, kind: str, stream: bool
) -> None:
    upstream.status = status
    # Or the router would ask again before it gives up.
    upstream.error_headers = {"x-should-retry": "false", "retry-after": "7"}
    error = failure(client, stream=stream)
    assert (error.status_code, error.type) == (status, kind)
    assert error.response.headers["retry-after"] == "7"
    assert "The stub is out of order." in error.message


def test_a_stream_that_breaks(client: anthropic.Anthropic, upstream: StubUpstream) -> None:
    upstream.error_after = 2
    with client.messages.stream(**asking()) as stream:
        text = stream.text_stream
        assert [next(text), next(text)] == ["c", "a"]
        with pytest.raises(anthropic.APIStatusError, match="broke off"):
            next(text)


def test_unknown_paths_below_messages(server: Server) -> None:
    response = httpx.post(f"{server.url}/messages/batches", json={})
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "not_found_error"


# Around messages


def test_models(client: anthropic.Anthropic, server: Server) -> None:
    listed = client.models.list()
    names = [model.id for model in listed]
    assert names == [model.id for model in server.client().models.list()]
    assert (listed.first_id, listed.last_id) == (names[0], names[-1])
    model = client.models.retrieve(TEACHER)
    type(model).model_validate_json(model.model_dump_json())
    assert (model.type, model.id, model.display_name) == ("model", TEACHER, TEACHER)
    with pytest.raises(anthropic.NotFoundError) as raised:
        client.models.retrieve("nobody")
    assert raised.value.type == "not_found_error"


def test_tokens_are_estimated_from_what_was_seen(
    client: anthropic.Anthropic, upstream: StubUpstream
) -> None:
    prompt = asking("a cat " * 100, system="Count these animals.")
    count: Any = {name: prompt[name] for name in ("model", "messages", "system")}
    unseen = client.messages.count_tokens(**{**count, "model": "claude-unseen"}).input_tokens
    assert unseen > 100
    client.messages.create(**prompt)
    after = client.messages.count_tokens(**count).input_tokens
    assert abs(after - PROMPT_TOKENS) <= 3


def test_an_images_bytes_are_no_tokens(client: anthropic.Anthropic) -> None:
    def count(data: str) -> int:
        source: Any = {"type": "base64", "media_type": "image/png", "data": data}
        messages: Any = [{"role": "user", "content": [{"type": "image", "source": source}]}]
        return client.messages.count_tokens(model=TEACHER, messages=messages).input_tokens

    assert count(PNG * 1000) == count(PNG) > 1600


def test_bad_requests_to_count(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        client.messages.count_tokens(model=TEACHER, messages=[])


# Before OpenAI's own servers


def test_openai_is_not_told_what_it_refuses(tmp_path: Path, upstream: StubUpstream) -> None:
    proxy = upstream.url.removesuffix("/v1")
    flags = ("--teacher", TEACHER, "--teacher-base-url", "http://api.openai.com/v1")
    cached = {"type": "ephemeral"}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "a cat?", "cache_control": cached}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "It purrs.", "signature": "c2ln"},
                {"type": "text", "text": "cat"},
            ],
        },
        {"role": "user", "content": "a dog?"},
    ]
    request = asking(tools=[{**WEATHER, "cache_control": cached}])
    with Server(tmp_path / "data", *flags, http_proxy=proxy, no_proxy="") as server:
        client = anthropic_client(server)
        client.messages.create(**{**request, "messages": turns})
        with client.messages.stream(**{**request, "messages": turns}) as stream:
            assert stream.get_final_text() == "dog"
    for received in upstream.requests:
        assert received.headers["host"] == "api.openai.com"
        assert received.body["messages"] == [
            {"role": "user", "content": [{"type": "text", "text": "a cat?"}]},
            {"role": "assistant", "content": "cat"},
            {"role": "user", "content": "a dog?"},
        ]
        assert [set(tool) for tool in received.body["tools"]] == [{"type", "function"}]
