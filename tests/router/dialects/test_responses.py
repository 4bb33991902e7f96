"""The Responses API as the official client sees it."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response
from openai.types.responses.response_item import ResponseItem
from pydantic import BaseModel, TypeAdapter

from telemetry.exchange import Exchange
from tests.router.conftest import TEACHER
from tests.router.server import Server, eventually
from tests.router.taught import SENTENCES, promote
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

LOOK: Any = {
    "type": "function",
    "name": "look",
    "description": "Look for an animal.",
    "parameters": {"type": "object", "properties": {"animal": {"type": "string"}}},
    "strict": False,
}

_item: TypeAdapter[Any] = TypeAdapter(ResponseItem)


def calling(*arguments: str) -> dict[str, Any]:
    """A message that calls a function once for each of its arguments."""
    calls = [
        {
            "id": f"call_{index}",
            "type": "function",
            "index": index,
            "function": {"name": "look", "arguments": argument},
        }
        for index, argument in enumerate(arguments)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def stored(server: Server, response_id: str) -> Exchange:
    return server.exchange(response_id.replace("resp_", "req_"))


def post(server: Server, path: str = "", **sent: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/responses{path}", json=sent, timeout=30)


def test_a_response(server: Server, upstream: StubUpstream) -> None:
    raw = server.client().responses.with_raw_response.create(
        model="auto",
        input="a cat",
        instructions="Classify.",
        metadata={"task": "responses"},
        max_output_tokens=50,
    )
    Response.model_validate_json(raw.content, strict=True)
    response = raw.parse()
    assert response.output_text == "cat"
    assert response.status == "completed"
    assert response.model == TEACHER
    assert response.instructions == "Classify."
    assert response.usage is not None
    assert response.usage.input_tokens == PROMPT_TOKENS
    assert response.usage.output_tokens == COMPLETION_TOKENS
    assert raw.headers["x-protege-task"] == "responses"
    assert response.id == raw.headers["x-request-id"].replace("req_", "resp_")
    assert upstream.requests[0].body == {
        "model": TEACHER,
        "messages": [
            {"role": "system", "content": "Classify."},
            {"role": "user", "content": "a cat"},
        ],
        "max_completion_tokens": 50,
    }

    exchange = stored(server, response.id)
    assert exchange.dialect == "responses"
    assert exchange.teacher_answer == "cat"
    assert exchange.original is not None
    assert '"instructions"' in exchange.original


@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_a_stream(server: Server, upstream: StubUpstream, byte_by_byte: bool) -> None:
    upstream.byte_by_byte = byte_by_byte
    upstream.answer = lambda text: "Schrödingers 🐈"
    with server.client().responses.stream(model="auto", input="a cat") as stream:
        events = list(stream)
        response = stream.get_final_response()
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == response.output_text == "Schrödingers 🐈"
    assert len(deltas) == len("Schrödingers 🐈")
    assert response.usage is not None
    assert response.usage.total_tokens == PROMPT_TOKENS + COMPLETION_TOKENS
    shown = server.client().responses.retrieve(response.id)
    assert shown.output == server.client().responses.retrieve(response.id).output
    assert [item.to_dict() for item in shown.output] == [
        {**item.to_dict(), "content": [without_parsed(part) for part in item.content]}  # type: ignore[union-attr]
        for item in response.output
    ]


def without_parsed(part: Any) -> dict[str, Any]:
    return {name: value for name, value in part.to_dict().items() if name != "parsed"}


async def test_the_asynchronous_client(server: Server) -> None:
    async with server.async_client() as client:
        response = await client.responses.create(model="auto", input="a dog")
        assert response.output_text == "dog"
        async with client.responses.stream(model="auto", input="a dog") as stream:
            final = await stream.get_final_response()
        assert final.output_text == "dog"


def test_a_conversation(server: Server, upstream: StubUpstream) -> None:
    responses = server.client().responses
    first = responses.create(model="auto", input="a cat", instructions="Classify.")
    second = responses.create(
        model="auto",
        input=[{"role": "user", "content": "a dog"}],
        instructions="Classify again.",
        previous_response_id=first.id,
    )
    assert second.previous_response_id == first.id
    third = responses.create(model="auto", input="the cat", previous_response_id=second.id)
    assert third.output_text == "cat"
    # Instructions are those of one request; what was said stays.
    said = [
        {"role": "user", "content": "a cat"},
        {"role": "assistant", "content": "cat"},
        {"role": "user", "content": "a dog"},
    ]
    again = {"role": "system", "content": "Classify again."}
    assert upstream.requests[1].body["messages"] == [again, *said]
    assert upstream.requests[2].body["messages"] == [
        *said,
        {"role": "assistant", "content": "dog"},
        {"role": "user", "content": "the cat"},
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_functions(server: Server, upstream: StubUpstream, stream: bool) -> None:
    upstream.message = calling('{"animal": "cat"}', '{"animal": "dog"}')
    upstream.finish_reason = "tool_calls"
    responses = server.client().responses
    asked: Any = {"model": "auto", "input": "Where are they?", "tools": [LOOK]}
    if stream:
        with responses.stream(**asked) as events:
            response: Response = events.get_final_response()
    else:
        response = responses.create(**asked)
    assert response.status == "completed"
    calls = [item for item in response.output if item.type == "function_call"]
    assert [call.arguments for call in calls] == ['{"animal": "cat"}', '{"animal": "dog"}']
    shown = responses.retrieve(response.id)
    assert [item.id for item in shown.output] == [call.id for call in calls]

    upstream.message = None
    upstream.finish_reason = "stop"
    results: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "a dog is here"}
        for call in calls
    ]
    last = responses.create(
        model="auto", input=results, tools=[LOOK], previous_response_id=response.id
    )
    assert last.output_text == "dog"
    _user, called, *answers = upstream.requests[1].body["messages"]
    assert [call["function"]["name"] for call in called["tool_calls"]] == ["look", "look"]
    assert [answer["tool_call_id"] for answer in answers] == ["call_0", "call_1"]
    assert upstream.requests[1].body["tools"][0]["function"]["name"] == "look"

    # The same conversation, told by the caller itself.
    told = [{"role": "user", "content": "Where are they?"}, *map(dict, response.output), *results]
    responses.create(model="auto", input=told, tools=[LOOK])
    assert upstream.requests[2].body["messages"] == upstream.requests[1].body["messages"]


@pytest.mark.parametrize("stream", [False, True])
def test_functions_in_namespaces(server: Server, upstream: StubUpstream, stream: bool) -> None:
    upstream.message = calling("{}")
    upstream.message["tool_calls"][0]["function"]["name"] = "roofs__look"
    upstream.finish_reason = "tool_calls"
    space = {"type": "namespace", "name": "roofs", "description": "Of roofs.", "tools": [LOOK]}
    responses = server.client().responses
    asked: Any = {"model": "auto", "input": "Where is it?", "tools": [LOOK, space]}
    if stream:
        with responses.stream(**asked) as events:
            response: Response = events.get_final_response()
    else:
        response = responses.create(**asked)
    assert response.tools[1].to_dict() == space
    for given in (response, responses.retrieve(response.id)):
        call = given.output[0].to_dict()
        assert (call["namespace"], call["name"]) == ("roofs", "look")
    upstream.message = None
    answer: Any = {"type": "function_call_output", "call_id": "call_0", "output": "a cat"}
    for more in (
        {"input": [answer], "previous_response_id": response.id},
        {"input": [{"role": "user", "content": "Where is it?"}, call, answer]},
    ):
        assert responses.create(**{**asked, **more}).output_text == "cat"
        _user, called, _answer = upstream.requests[-1].body["messages"]
        assert called["tool_calls"][0]["function"]["name"] == "roofs__look"


@pytest.mark.parametrize("stream", [False, True])
def test_custom_tools(server: Server, upstream: StubUpstream, stream: bool) -> None:
    patch = "*** Begin Patch"
    upstream.message = calling("{}")
    upstream.message["tool_calls"].append(
        {"id": "call_1", "type": "custom", "custom": {"name": "write", "input": patch}}
    )
    upstream.finish_reason = "tool_calls"
    grammar = {"syntax": "lark", "definition": "start: /.+/"}
    write = {"type": "custom", "name": "write", "format": {"type": "grammar", **grammar}}
    responses = server.client().responses
    asked: Any = {"model": "auto", "input": "Write it.", "tools": [LOOK, write]}
    asked["tool_choice"] = {"type": "custom", "name": "write"}
    if stream:
        with responses.stream(**asked) as events:
            came: list[Any] = list(events)
            response: Response = events.get_final_response()
        kind = "response.custom_tool_call_input"
        bits = [event.delta for event in came if event.type == f"{kind}.delta"]
        assert "".join(bits) == patch
        assert [event.input for event in came if event.type == f"{kind}.done"] == [patch]
    else:
        response = responses.create(**asked)
    assert upstream.requests[0].body["tools"][1] == {
        "type": "custom",
        "custom": {"name": "write", "format": {"type": "grammar", "grammar": grammar}},
    }
    assert upstream.requests[0].body["tool_choice"] == {
        "type": "custom",
        "custom": {"name": "write"},
    }
    for given in (response, responses.retrieve(response.id)):
        looks, writes = given.output
        assert looks.type == "function_call"
        assert writes.type == "custom_tool_call"
        assert (writes.name, writes.input, writes.call_id) == ("write", patch, "call_1")

    upstream.message = None
    upstream.finish_reason = "stop"
    results: Any = [
        {"type": "function_call_output", "call_id": "call_0", "output": "a dog"},
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": "a cat"},
    ]
    said: Any = {"role": "user", "content": "Write it."}
    for more in (
        {"input": results, "previous_response_id": response.id},
        {"input": [said, *(item.to_dict() for item in response.output), *results]},
    ):
        assert responses.create(**{**asked, **more}).output_text == "cat"
        _user, called, *answers = upstream.requests[-1].body["messages"]
        assert called["tool_calls"][1]["custom"] == {"name": "write", "input": patch}
        assert [answer["tool_call_id"] for answer in answers] == ["call_0", "call_1"]
    items = responses.input_items.list(response.id)
    assert [item.type for item in items] == ["message"]


def test_reasoning_is_shown(server: Server, upstream: StubUpstream) -> None:
    upstream.message = {"role": "assistant", "content": "cat", "reasoning_content": "It purrs."}
    response = server.client().responses.create(model="auto", input="a cat")
    thought = response.output[0]
    assert thought.type == "reasoning"
    assert thought.summary[0].text == "It purrs."
    assert response.output_text == "cat"
    # The next request does not say it again: a chat completion has no place for it.
    server.client().responses.create(model="auto", input="a dog", previous_response_id=response.id)
    assert upstream.requests[1].body["messages"][1] == {"role": "assistant", "content": "cat"}


def test_a_format(server: Server, upstream: StubUpstream) -> None:
    class Animal(BaseModel):
        kind: str

    upstream.answer = lambda text: '{"kind": "cat"}'
    response = server.client().responses.parse(model="auto", input="a cat", text_format=Animal)
    assert response.output_parsed == Animal(kind="cat")
    wanted = upstream.requests[0].body["response_format"]
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["name"] == "Animal"
    assert wanted["json_schema"]["strict"] is True


def test_log_probabilities(server: Server) -> None:
    response = server.client().responses.create(
        model="auto",
        input="a cat",
        top_logprobs=2,
        include=["message.output_text.logprobs"],
    )
    for shown in (response, server.client().responses.retrieve(response.id)):
        message = shown.output[0]
        assert message.type == "message"
        part = message.content[0]
        assert part.type == "output_text"
        assert part.logprobs is not None
        assert [token.token for token in part.logprobs] == ["c", "a", "t"]
        assert len(part.logprobs[0].top_logprobs) == 2


def test_an_incomplete_response(server: Server, upstream: StubUpstream) -> None:
    upstream.finish_reason = "length"
    response = server.client().responses.create(model="auto", input="a cat", max_output_tokens=16)
    for shown in (response, server.client().responses.retrieve(response.id)):
        assert shown.status == "incomplete"
        assert shown.incomplete_details is not None
        assert shown.incomplete_details.reason == "max_output_tokens"


def test_a_response_is_shown_again(server: Server) -> None:
    client = server.client()
    given = client.responses.create(
        model="auto", input="a cat", instructions="Classify.", temperature=0.5, tools=[LOOK]
    )
    raw = client.responses.with_raw_response.retrieve(given.id)
    Response.model_validate_json(raw.content, strict=True)
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.parse().to_dict() == {**given.to_dict(), "completed_at": raw.parse().completed_at}


def test_a_deleted_response_is_gone(server: Server) -> None:
    responses = server.client().responses
    given = responses.create(model="auto", input="a cat")
    cost = stored(server, given.id).cost
    assert responses.with_raw_response.delete(given.id).http_response.json() == {
        "id": given.id,
        "object": "response",
        "deleted": True,
    }
    forgotten = stored(server, given.id)
    assert (forgotten.original, forgotten.request, forgotten.answer) == (None, None, None)
    assert forgotten.cost == cost
    with pytest.raises(openai.NotFoundError, match=f"Response with id '{given.id}' not found"):
        responses.retrieve(given.id)
    with pytest.raises(openai.NotFoundError):
        responses.delete(given.id)
    with pytest.raises(openai.NotFoundError):
        responses.input_items.list(given.id)


def test_what_is_not_to_be_stored_is_not(server: Server) -> None:
    responses = server.client().responses
    given = responses.create(model="auto", input="a secret cat", store=False)
    assert given.output_text == "cat"
    with pytest.raises(openai.NotFoundError):
        responses.retrieve(given.id)
    with pytest.raises(openai.BadRequestError) as caught:
        responses.create(model="auto", input="a dog", previous_response_id=given.id)
    assert caught.value.code == "previous_response_not_found"
    assert caught.value.param == "previous_response_id"


def test_a_chat_completion_is_no_response(server: Server) -> None:
    raw = server.client().chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": "a cat"}]
    )
    identifier = raw.headers["x-request-id"].replace("req_", "resp_")
    with pytest.raises(openai.NotFoundError):
        server.client().responses.retrieve(identifier)


@pytest.mark.parametrize("identifier", ["resp_0", "req_0", "%00"])
def test_unknown_responses(server: Server, identifier: str) -> None:
    url = f"{server.url}/responses/{identifier}"
    for answer in (
        httpx.get(url),
        httpx.delete(url),
        httpx.get(f"{url}/input_items"),
        httpx.post(f"{url}/cancel"),
    ):
        assert answer.status_code == 404
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert answer.headers["x-request-id"]


def test_input_items(server: Server) -> None:
    responses = server.client().responses
    said: Any = [
        {"role": "user", "content": "a cat"},
        {"role": "assistant", "content": "cat"},
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "seen"},
        {
            "type": "message",
            "id": "msg_mine",
            "role": "user",
            "content": [{"type": "input_text", "text": "a dog"}],
        },
    ]
    given = responses.create(model="auto", input=said)
    listed = responses.input_items.list(given.id, order="asc", limit=2)
    assert listed.has_more
    items = list(listed)
    for item in items:
        _item.validate_python(item.to_dict(), strict=True)
    kinds = ["message", "message", "function_call", "function_call_output", "message"]
    assert [item.type for item in items] == kinds
    assert items[0].to_dict()["content"] == [{"type": "input_text", "text": "a cat"}]
    assert items[1].to_dict()["content"][0]["type"] == "output_text"  # type: ignore[index]
    assert items[-1].id == "msg_mine"
    newest_first = responses.input_items.list(given.id)
    assert [item.id for item in newest_first] == [item.id for item in items[::-1]]
    after = responses.input_items.list(given.id, order="asc", after=items[3].id)
    assert [item.id for item in after.data] == ["msg_mine"]


def test_items_without_ids_are_listed_to_the_end(server: Server) -> None:
    responses = server.client().responses
    nothing = {"id": None, "status": None}
    said: Any = [{"role": "user", "content": f"cat {index}", **nothing} for index in range(3)]
    given = responses.create(model="auto", input=said)
    items = list(responses.input_items.list(given.id, order="asc", limit=1))
    for item in items:
        _item.validate_python(item.to_dict(), strict=True)
    assert [item.to_dict()["content"][0]["text"] for item in items] == ["cat 0", "cat 1", "cat 2"]  # type: ignore[index]


def test_items_may_be_referred_to(server: Server, upstream: StubUpstream) -> None:
    responses = server.client().responses
    upstream.message = {**calling("{}"), "content": "Let me see.", "reasoning_content": "Hm."}
    upstream.finish_reason = "tool_calls"
    first = responses.create(model="auto", input="Where is the cat?", tools=[LOOK])
    assert [item.type for item in first.output] == ["reasoning", "message", "function_call"]
    asked = responses.input_items.list(first.id).data[0]
    upstream.message = None
    references: Any = [
        {"type": "item_reference", "id": asked.id},
        *({"id": item.id} for item in first.output),
        {"type": "function_call_output", "call_id": "call_0", "output": "a cat is here"},
    ]
    second = responses.create(model="auto", input=references, tools=[LOOK])
    assert second.output_text == "cat"
    question, called, answer = upstream.requests[1].body["messages"]
    assert question == {"role": "user", "content": "Where is the cat?"}
    assert called["content"] == "Let me see."
    assert called["tool_calls"][0]["id"] == answer["tool_call_id"] == "call_0"
    items = responses.input_items.list(second.id, order="asc").data
    assert [item.type for item in items] == [
        "message",
        "reasoning",
        "message",
        "function_call",
        "function_call_output",
    ]

    responses.delete(first.id)
    with pytest.raises(openai.NotFoundError) as caught:
        responses.create(model="auto", input=references)
    assert caught.value.param == "input"
    assert str(asked.id) in caught.value.message
    unknown: Any = [{"type": "item_reference", "id": "msg_1"}]
    with pytest.raises(openai.NotFoundError):
        responses.create(model="auto", input=unknown)


def test_a_text_is_an_input_item(server: Server) -> None:
    given = server.client().responses.create(model="auto", input="a cat")
    (item,) = server.client().responses.input_items.list(given.id).data
    assert item.type == "message"
    assert item.role == "user"
    assert item.to_dict()["content"] == [{"type": "input_text", "text": "a cat"}]


@pytest.mark.parametrize("query", ["limit=0", "limit=many", "order=up"])
def test_pages_that_there_are_not(server: Server, query: str) -> None:
    given = server.client().responses.create(model="auto", input="a cat")
    answer = httpx.get(f"{server.url}/responses/{given.id}/input_items?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == query.partition("=")[0]


def test_what_cannot_be_done_with_a_response(server: Server) -> None:
    given = server.client().responses.create(model="auto", input="a cat")
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        server.client().responses.cancel(given.id)
    answer = httpx.get(f"{server.url}/responses/{given.id}?stream=true")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "stream"


def test_errors(server: Server, upstream: StubUpstream) -> None:
    unsupported = post(server, model="auto", input="x", tools=[{"type": "web_search"}])
    assert unsupported.status_code == 400
    assert unsupported.json()["error"]["param"] == "tools[0].type"
    assert unsupported.json()["error"]["code"] == "unsupported"
    missing = post(server, model="auto")
    assert missing.json()["error"]["message"] == "Missing required parameter: 'input'."
    with pytest.raises(openai.NotFoundError) as caught:
        server.client().responses.create(model="unknown", input="x")
    assert caught.value.code == "model_not_found"
    upstream.status = 503
    with pytest.raises(openai.InternalServerError, match="The stub is out of order"):
        server.client().responses.create(model="auto", input="x")


@pytest.mark.parametrize("fault", ["break_after", "error_after"])
def test_a_broken_stream_has_failed(server: Server, upstream: StubUpstream, fault: str) -> None:
    setattr(upstream, fault, 2)
    events = list(server.client().responses.create(model="auto", input="a cat", stream=True))
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.status == "failed"
    assert last.response.error is not None
    assert last.response.output_text == "ca"
    shown = server.client().responses.retrieve(last.response.id)
    assert shown.status == "failed"
    assert shown.output_text == "ca"
    with pytest.raises(openai.BadRequestError):
        server.client().responses.create(model="auto", input="a dog", previous_response_id=shown.id)


def test_a_student_answers(server: Server) -> None:
    store = server.store()
    promote(store, server.data, "responses-1", task="responses-student")
    store.close()
    client = server.client()
    asked: Any = {
        "model": "auto",
        "input": SENTENCES[0],
        "metadata": {"task": "responses-student"},
    }

    def is_routed() -> bool:
        raw = client.responses.with_raw_response.create(**asked)
        return raw.headers["x-protege-route"] == "student"

    assert eventually(is_routed)
    given = client.responses.create(**asked)
    assert (given.model, given.output_text) == ("responses-1", "cat")
    # Its exchange may reach the store after its caller.
    following = client.responses.create(model=TEACHER, input="a dog", previous_response_id=given.id)
    assert following.output_text == "dog"
    with client.responses.stream(**asked) as stream:
        streamed = stream.get_final_response()
    assert (streamed.model, streamed.output_text) == ("responses-1", "cat")
    assert streamed.usage is not None
    assert streamed.usage.output_tokens == COMPLETION_TOKENS


def test_metadata_goes_no_further_than_a_chat_completion_takes_it(
    server: Server, upstream: StubUpstream
) -> None:
    responses = server.client().responses
    given = responses.create(model="auto", input="a cat", metadata={"team": "support"})
    assert given.metadata == {"team": "support"}
    assert "metadata" not in upstream.requests[-1].body
    responses.create(model="auto", input="a cat", metadata={"team": "support"}, store=True)
    assert upstream.requests[-1].body["metadata"] == {"team": "support"}


def test_tokens_are_estimated_with_all_that_was_said(
    server: Server, upstream: StubUpstream
) -> None:
    responses = server.client().responses
    given = responses.create(model="auto", input="a cat " * 100, metadata={"task": "counted"})
    count = responses.input_tokens.count(model="auto", input="a cat " * 100)
    assert count.object == "response.input_tokens"
    alone = responses.input_tokens.count(model="auto", input="a dog").input_tokens
    after = responses.input_tokens.count(
        model="auto", input="a dog", previous_response_id=given.id
    ).input_tokens
    assert after >= count.input_tokens > alone > 0
    with pytest.raises(openai.BadRequestError) as caught:
        responses.input_tokens.count(model="auto", input="a dog", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
    assert len(upstream.requests) == 1
