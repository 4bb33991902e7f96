"""The API as the official client sees it, and what the store keeps of it."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import openai
import pytest

from tests.router.conftest import TEACHER, teacher_flags
from tests.router.server import Server
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

_numbers = itertools.count()


def messages(text: str = "a cat") -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def task() -> str:
    """A task of the test's own."""
    return f"chat-{next(_numbers)}"


def post(server: Server, content: Any, **headers: str) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return httpx.post(f"{server.url}/chat/completions", content=body, headers=headers, timeout=30)


def test_teacher_answer(server: Server, upstream: StubUpstream, task: str) -> None:
    raw = server.client().chat.completions.with_raw_response.create(
        model="auto", messages=messages(), metadata={"task": task}, temperature=0.5
    )
    completion = raw.parse()
    assert completion.choices[0].message.content == "cat"
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == PROMPT_TOKENS
    assert raw.headers["x-protege-route"] == "teacher"
    assert raw.headers["x-protege-reason"] == "no_student"
    assert raw.headers["x-protege-task"] == task
    assert raw.headers["x-protege-model"] == TEACHER

    exchange = server.exchange(raw.headers["x-request-id"])
    assert (exchange.task, exchange.route, exchange.model) == (task, "teacher", TEACHER)
    assert exchange.answer == exchange.teacher_answer == "cat"
    assert exchange.sampled
    assert exchange.finish_reason == "stop"
    assert exchange.completion_tokens == COMPLETION_TOKENS
    # 2.5 and 15 USD per million tokens.
    assert exchange.cost == exchange.teacher_cost == 40 * 2_500_000 + 8 * 15_000_000
    assert raw.headers["x-protege-cost"] == "0.00022"
    assert exchange.request is not None
    assert json.loads(exchange.request)["temperature"] == 0.5

    # What the caller said passes on, but for the model and what was meant for the router.
    assert upstream.requests[0].body == {
        "model": TEACHER,
        "messages": messages(),
        "temperature": 0.5,
    }


def test_other_metadata_passes_on(server: Server, upstream: StubUpstream, task: str) -> None:
    metadata = {"task": task, "user": "u1"}
    server.client().chat.completions.create(
        model="auto", messages=messages(), metadata=metadata, store=True
    )
    assert upstream.requests[0].body["metadata"] == {"user": "u1"}
    assert upstream.requests[0].body["store"] is True


@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_stream(server: Server, upstream: StubUpstream, task: str, byte_by_byte: bool) -> None:
    upstream.byte_by_byte = byte_by_byte
    upstream.answer = lambda text: "Schrödingers 🐈"
    with server.client().chat.completions.with_streaming_response.create(
        model="auto", messages=messages(), metadata={"task": task}, stream=True
    ) as raw:
        identifier = raw.headers["x-request-id"]
        assert raw.headers["x-protege-route"] == "teacher"
        chunks = list(raw.parse())
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Schrödingers 🐈"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)

    exchange = server.exchange(identifier)
    assert exchange.stream
    assert exchange.teacher_answer == "Schrödingers 🐈"
    assert exchange.finish_reason == "stop"
    assert exchange.cost == 220_000_000
    assert exchange.first_token_s is not None
    assert exchange.first_token_s <= exchange.latency_s
    assert upstream.requests[0].body["stream_options"] == {"include_usage": True}


def test_stream_with_usage(server: Server, task: str) -> None:
    chunks = list(
        server.client().chat.completions.create(
            model=TEACHER,
            messages=messages(),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == PROMPT_TOKENS + COMPLETION_TOKENS


def test_tokens_are_relayed_as_they_come(server: Server, upstream: StubUpstream) -> None:
    upstream.hold = threading.Event()
    chunks = server.client().chat.completions.create(model="auto", messages=messages(), stream=True)
    text = ""
    for chunk in chunks:
        text += chunk.choices[0].delta.content or ""
        if text:
            # The upstream says no more until the caller has its first token.
            upstream.hold.set()
    assert text == "cat"


async def test_async_client(server: Server) -> None:
    async with server.async_client() as client:
        completion = await client.chat.completions.create(model="auto", messages=messages())
        assert completion.choices[0].message.content == "cat"
        stream = await client.chat.completions.create(
            model="auto", messages=messages("a dog"), stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == "dog"


def test_own_name_of_the_teacher_is_routed(server: Server, task: str) -> None:
    create = server.client().chat.completions.with_raw_response.create
    routed = create(model=TEACHER, messages=messages(), metadata={"task": task})
    forced = create(model="teacher", messages=messages(), metadata={"task": task})
    assert routed.headers["x-protege-reason"] == "no_student"
    assert forced.headers["x-protege-reason"] == "forced"


def test_a_named_model_teaches_nobody(server: Server, upstream: StubUpstream, task: str) -> None:
    raw = server.client().chat.completions.with_raw_response.create(
        model="other", messages=messages(), metadata={"task": task}
    )
    assert raw.headers["x-protege-route"] == "model"
    exchange = server.exchange(raw.headers["x-request-id"])
    assert (exchange.answer, exchange.teacher_answer, exchange.sampled) == ("cat", None, False)
    assert exchange.cost < exchange.teacher_cost
    assert upstream.requests[0].body["model"] == "gpt-5.4-mini"
    assert upstream.requests[0].headers["authorization"] == "Bearer other-key"
    assert not server.store().teacher_answers(task)


def test_forced_student_without_a_student(server: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="has no student") as caught:
        server.client().chat.completions.create(model="student", messages=messages())
    assert caught.value.code == "student_not_found"


def test_unknown_model(server: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="'gpt-9'") as caught:
        server.client().chat.completions.create(model="gpt-9", messages=messages())
    assert caught.value.code == "model_not_found"


def test_other_models_are_asked_for_where_the_teacher_is(
    server: Server, upstream: StubUpstream
) -> None:
    for stream in (False, True):
        raw = server.client().chat.completions.with_raw_response.create(
            model="gpt-5.4-nano", messages=messages(), metadata={"task": "beside"}, stream=stream
        )
        assert raw.headers["x-protege-route"] == "model"
        assert raw.headers["x-protege-model"] == "gpt-5.4-nano"
        assert upstream.requests[-1].body["model"] == "gpt-5.4-nano"
        exchange = server.exchange(raw.headers["x-request-id"])
        # At its own price, and no lesson.
        assert 0 < exchange.cost < exchange.teacher_cost
        assert exchange.teacher_answer is None


def test_other_models_may_be_ruled_out(upstream: StubUpstream, data: Path) -> None:
    environment = {"PROTEGE_OTHER_MODELS": "false", "PROTEGE_LOOP__ENABLED": "false"}
    with Server(data, *teacher_flags(upstream), **environment) as server:
        with pytest.raises(openai.NotFoundError, match=r"'gpt-5\.4-nano'") as caught:
            server.client().chat.completions.create(model="gpt-5.4-nano", messages=messages())
        assert caught.value.code == "model_not_found"
        assert caught.value.param == "model"
        assert upstream.requests == []


def test_models(server: Server) -> None:
    client = server.client()
    names = [model.id for model in client.models.list()]
    assert names == ["auto", "teacher", "student", TEACHER, "impatient", "other", "gone"]
    assert client.models.retrieve("auto").id == "auto"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing/like-it")


def test_caller_key_passes_on(server: Server, upstream: StubUpstream) -> None:
    upstream.key = "sesame"
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key") as caught:
        server.client(api_key="wrong").chat.completions.create(model="auto", messages=messages())
    assert caught.value.code == "invalid_api_key"
    completion = server.client(api_key="sesame").chat.completions.create(
        model="auto", messages=messages()
    )
    assert completion.choices[0].message.content == "cat"


def test_not_stored(server: Server, task: str) -> None:
    for stream in (False, True):
        response = post(
            server,
            {
                "model": "auto",
                "messages": messages(),
                "metadata": {"task": task},
                "store": False,
                "stream": stream,
            },
        )
        assert response.status_code == 200
        exchange = server.exchange(response.headers["x-request-id"])
        assert exchange.request is None
        assert exchange.answer is None
        assert exchange.teacher_answer is None
        assert exchange.cost > 0
    assert not server.store().teacher_answers(task)


def test_tool_calls(server: Server, upstream: StubUpstream, task: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    upstream.message = {"role": "assistant", "content": None, "tool_calls": [call]}
    upstream.finish_reason = "tool_calls"
    tool: Any = {"type": "function", "function": {"name": "look", "parameters": {}}}
    raw = server.client().chat.completions.with_raw_response.create(
        model="auto", messages=messages(), metadata={"task": task}, tools=[tool]
    )
    assert raw.headers["x-protege-reason"] == "tools"
    assert raw.parse().choices[0].message.tool_calls
    exchange = server.exchange(raw.headers["x-request-id"])
    assert exchange.teacher_answer is None
    assert exchange.choices is not None
    assert json.loads(exchange.choices)[0]["message"]["tool_calls"] == [call]


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (b"{", None),
        (b"", None),
        (b"[1]", None),
        (b'{"model": "auto", "messages": [{"role": "user", "content": "\\ud800"}]}', None),
        ({"messages": messages()}, "model"),
        ({"model": 1, "messages": messages()}, "model"),
        ({"model": "auto"}, "messages"),
        ({"model": "auto", "messages": []}, "messages"),
        ({"model": "auto", "messages": "hello"}, "messages"),
        ({"model": "auto", "messages": ["hello"]}, "messages[0]"),
        ({"model": "auto", "messages": [{"content": "hello"}]}, "messages[0].role"),
        ({"model": "auto", "messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"model": "auto", "messages": messages(), "stream": "yes"}, "stream"),
        ({"model": "auto", "messages": messages(), "n": 0}, "n"),
        ({"model": "auto", "messages": messages(), "n": True}, "n"),
        ({"model": "auto", "messages": messages(), "n": 129}, "n"),
        ({"model": "auto", "messages": messages(), "metadata": "task"}, "metadata"),
        ({"model": "auto", "messages": messages(), "modalities": [["text"]]}, "modalities"),
        ({"model": "auto", "messages": messages(), "top_logprobs": 2}, "top_logprobs"),
        (
            {"model": "auto", "messages": messages(), "logprobs": True, "top_logprobs": 21},
            "top_logprobs",
        ),
    ],
)
def test_bad_requests(
    server: Server, upstream: StubUpstream, content: Any, param: str | None
) -> None:
    response = post(server, content)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert response.headers["x-request-id"]
    assert not upstream.requests


def test_unknown_paths_and_methods(server: Server) -> None:
    unknown = httpx.get(f"{server.url}/nothing")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "unknown_url"
    wrong = httpx.delete(f"{server.url}/models")
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "GET"
    assert wrong.json()["error"]["code"] == "method_not_allowed"
    assert wrong.headers["x-request-id"]


def test_any_task_name_fits_a_header(server: Server) -> None:
    task = "Übung 50%\r\nx-evil: 1 – 猫"
    response = post(server, {"model": "auto", "messages": messages(), "metadata": {"task": task}})
    assert response.status_code == 200
    assert unquote(response.headers["x-protege-task"]) == task
    assert "x-evil" not in response.headers


@pytest.mark.parametrize(
    ("body", "headers", "param"),
    [
        ({"metadata": {"task": 201 * "x"}}, {}, "metadata.task"),
        ({}, {"x-protege-task": 201 * "x"}, "x-protege-task"),
        ({"model": 201 * "x"}, {}, "model"),
    ],
)
def test_names_have_an_end(
    server: Server, body: dict[str, Any], headers: dict[str, str], param: str
) -> None:
    usual = {"model": "auto", "messages": messages()}
    url = f"{server.url}/chat/completions"
    refused = httpx.post(url, json={**usual, **body}, headers=headers)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param


def test_probes_and_metrics(server: Server, task: str) -> None:
    root = server.url.removesuffix("/v1")
    assert httpx.get(f"{root}/healthz").status_code == 200
    assert httpx.get(f"{root}/readyz").status_code == 200

    def spent() -> float:
        lines = httpx.get(f"{root}/metrics").text.split("\n")
        values = [line for line in lines if line.startswith("protege_cost_usd_total")]
        return sum(float(line.rpartition(" ")[2]) for line in values)

    before = spent()
    for _ in range(3):
        server.client().chat.completions.create(
            model="auto", messages=messages(), metadata={"task": task}
        )
    assert spent() - before == pytest.approx(3 * 0.00022)
