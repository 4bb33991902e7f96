"""The stored completions API over the exchange store, through OpenAI's client."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionStoreMessage

from telemetry.exchange import Exchange
from tests.router.server import Server
from tests.router.upstream import StubUpstream

_numbers = itertools.count()

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture
def suite() -> str:
    """A value of metadata that tells a test's completions from all others."""
    return f"suite-{next(_numbers)}"


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return server.client()


def say(upstream: StubUpstream, **more: Any) -> None:
    """Let the upstream answer with a completion that has an id of its own."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "a cat", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    completion = {
        "id": f"chatcmpl-own-{next(_numbers)}",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5.4",
        "choices": [choice],
        "usage": {"prompt_tokens": 40, "completion_tokens": 8, "total_tokens": 48},
    }
    upstream.content = json.dumps({**completion, **more}).encode()


def ask(client: openai.OpenAI, suite: str, **more: Any) -> ChatCompletion:
    request: dict[str, Any] = {
        "model": "auto",
        "messages": [{"role": "user", "content": "a cat?"}],
        "metadata": {"suite": suite},
        **more,
    }
    return client.chat.completions.create(**request)


def write(server: Server, suite: str, count: int, **more: Any) -> list[str]:
    """Put completions into the store, all of the same moment; their ids in order."""
    now = time.time()
    rows = []
    for index in range(count):
        fields: dict[str, Any] = {
            "id": f"req_{suite}-{index}",
            "created": now,
            "task": "t",
            "route": "teacher",
            "model": "gpt-5.4",
            "reason": "no_student",
            "status": 200,
            "stream": False,
            "sampled": True,
            "request": '{"model": "auto", "messages": [{"role": "user", "content": "hi"}]}',
            "metadata": json.dumps({"suite": suite}),
            "answer": "yes",
            "finish_reason": "stop",
            "completion_id": f"chatcmpl-{suite}-{index}",
        }
        rows.append(Exchange(**{**fields, **more}))
    store = server.store()
    store.write(rows)
    store.close()
    return [str(row.completion_id) for row in rows]


def test_what_was_answered_is_shown_again(
    upstream: StubUpstream, client: openai.OpenAI, suite: str
) -> None:
    say(upstream)
    answer = ask(client, suite, temperature=0.5, seed=7, user="u", tools=[TOOL])
    shown = client.chat.completions.retrieve(answer.id)
    assert shown.choices == answer.choices
    assert shown.usage is not None
    assert (shown.usage.prompt_tokens, shown.usage.total_tokens) == (40, 48)
    assert (shown.id, shown.model) == (answer.id, "gpt-5.4")
    kept = shown.model_dump()
    assert kept["metadata"] == {"suite": suite}
    assert kept["request_id"] == answer._request_id
    repeated = {"temperature": 0.5, "seed": 7, "input_user": "u", "tools": [TOOL], "top_p": None}
    assert {name: kept[name] for name in repeated} == repeated
    ChatCompletion.model_validate(shown.model_dump(exclude={"service_tier"}), strict=True)


def test_a_stream_is_stored_like_any_other(
    upstream: StubUpstream, client: openai.OpenAI, suite: str
) -> None:
    messages: Any = [{"role": "user", "content": "a cat?"}]
    with client.chat.completions.create(
        model="auto", messages=messages, metadata={"suite": suite}, stream=True
    ) as stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    (shown,) = client.chat.completions.list(metadata={"suite": suite})
    assert shown.choices[0].message.content == text == "cat"
    assert shown.choices[0].finish_reason == "stop"


def test_tool_calls_and_several_choices_are_kept(
    upstream: StubUpstream, client: openai.OpenAI, suite: str
) -> None:
    message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]}
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
        for index in range(2)
    ]
    say(upstream, choices=choices)
    answer = ask(client, suite, n=2, tools=[TOOL])
    shown = client.chat.completions.retrieve(answer.id)
    assert len(shown.choices) == 2
    assert shown.choices == answer.choices


def test_a_streamed_call_of_the_older_kind_is_kept(
    upstream: StubUpstream, client: openai.OpenAI, suite: str
) -> None:
    called = {"name": "f", "arguments": '{"animal": "a cat"}'}
    upstream.message = {"role": "assistant", "content": None, "function_call": called}
    upstream.finish_reason = "function_call"
    stream = client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "a cat?"}],
        functions=[{"name": "f", "parameters": {}}],
        metadata={"suite": suite},
        stream=True,
    )
    identifier = [chunk.id for chunk in stream][-1]
    (choice,) = client.chat.completions.retrieve(identifier).choices
    assert choice.message.function_call is not None
    assert choice.message.function_call.model_dump() == called


def test_what_the_caller_wants_forgotten_is_not_stored(
    upstream: StubUpstream, client: openai.OpenAI, suite: str
) -> None:
    say(upstream)
    answer = ask(client, suite, store=False)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(answer.id)
    assert list(client.chat.completions.list(metadata={"suite": suite})) == []


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_of_one_moment(server: Server, client: openai.OpenAI, suite: str, order: Any) -> None:
    ids = write(server, suite, 7)
    page = client.chat.completions.list(metadata={"suite": suite}, limit=3, order=order)
    assert page.has_more
    assert [len(each.data) for each in page.iter_pages()] == [3, 3, 1]
    shown = [each.id for each in page]
    assert shown == (ids if order == "asc" else ids[::-1])


def test_whoever_deletes_page_by_page_deletes_all(
    server: Server, client: openai.OpenAI, suite: str
) -> None:
    ids = write(server, suite, 5)
    deleted = []
    for each in client.chat.completions.list(metadata={"suite": suite}, limit=2):
        deleted.append(client.chat.completions.delete(each.id).id)
    assert deleted == ids
    assert list(client.chat.completions.list(metadata={"suite": suite})) == []


def test_filters(server: Server, client: openai.OpenAI, suite: str) -> None:
    write(server, suite, 2)
    other = write(
        server, f"{suite}-other", 1, model="animals-1", metadata=f'{{"suite":"{suite}","k":"v"}}'
    )
    completions = client.chat.completions
    assert len(list(completions.list(metadata={"suite": suite}))) == 3
    by_model = completions.list(metadata={"suite": suite}, model="animals-1")
    by_pairs = completions.list(metadata={"suite": suite, "k": "v"})
    for found in (by_model, by_pairs):
        assert [each.id for each in found] == other


def test_metadata_is_replaced(server: Server, client: openai.OpenAI, suite: str) -> None:
    (identifier,) = write(server, suite, 1)
    changed = client.chat.completions.update(identifier, metadata={"a": "b"})
    assert changed.to_dict()["metadata"] == {"a": "b"}
    assert list(client.chat.completions.list(metadata={"suite": suite})) == []
    shown = client.chat.completions.retrieve(identifier)
    assert shown.to_dict() == changed.to_dict()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "metadata"),
        ({"metadata": 5}, "metadata"),
        ({"metadata": {str(i): "v" for i in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: "v"}}, f"metadata.{'k' * 64}"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"metadata": {"k": 5}}, "metadata.k"),
        ({"metadata": {"k": "\0"}}, "metadata.k"),
    ],
)
def test_metadata_that_openai_would_not_take(
    server: Server, suite: str, body: dict[str, Any], param: str
) -> None:
    (identifier,) = write(server, suite, 1)
    response = httpx.post(f"{server.url}/chat/completions/{identifier}", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_messages(server: Server, client: openai.OpenAI, suite: str) -> None:
    parts = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "http://localhost/cat.png"}},
    ]
    said: list[dict[str, Any]] = [
        {"role": "system", "content": "Say what it is."},
        {"role": "user", "content": parts, "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
    ]
    request = json.dumps({"model": "auto", "messages": said})
    (identifier,) = write(server, suite, 1, request=request)
    messages = client.chat.completions.messages
    shown = list(messages.list(identifier, limit=3))
    assert [each.id for each in shown] == [f"{identifier}-{index}" for index in range(4)]
    assert [each.role for each in shown] == [each["role"] for each in said]
    assert [each.content for each in shown] == ["Say what it is.", None, None, "a cat"]
    assert shown[1].to_dict()["content_parts"] == parts
    assert shown[1].to_dict()["name"] == "ann"
    assert shown[2].tool_calls is not None
    ChatCompletionStoreMessage.model_validate(shown[2].model_dump(), strict=True)
    backwards = list(messages.list(identifier, limit=3, order="desc"))
    assert backwards == shown[::-1]
    with pytest.raises(openai.NotFoundError):
        messages.list(identifier, after="nothing")


def test_a_deleted_completion_is_gone(server: Server, client: openai.OpenAI, suite: str) -> None:
    (identifier,) = write(server, suite, 1)
    deleted = client.chat.completions.delete(identifier)
    assert deleted.to_dict() == {
        "id": identifier,
        "object": "chat.completion.deleted",
        "deleted": True,
    }
    for use in (
        client.chat.completions.retrieve,
        client.chat.completions.delete,
        client.chat.completions.messages.list,
        lambda gone: client.chat.completions.update(gone, metadata={}),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            use(identifier)
        assert caught.value.code == "not_found"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=0000000010000", "limit"),
        ("&".join(f"metadata[{each}]=a" for each in range(17)), "metadata"),
        (f"limit=000000001{'0' * 5000}", "limit"),
        ("limit=ten", "limit"),
        ("limit=²", "limit"),
        ("order=up", "order"),
        ("model=%00", "model"),
        ("metadata[a]=%00", "metadata[a]"),
        ("metadata[%00]=a", "metadata"),
    ],
)
def test_questions_that_make_no_sense(server: Server, query: str, param: str) -> None:
    response = httpx.get(f"{server.url}/chat/completions?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("path", ["/%00", "/nothing", "?after=nothing", "/nothing/messages"])
def test_nothing_there(server: Server, path: str) -> None:
    response = httpx.get(f"{server.url}/chat/completions{path}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"
