"""What goes wrong upstream, without a student to stand in: OpenAI's errors, never a false end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from telemetry.exchange import Exchange
from tests.router.conftest import teacher_flags, with_another_model
from tests.router.server import Server, eventually
from tests.router.test_metrics import Scraped
from tests.router.upstream import StubUpstream

MESSAGES: list[Any] = [{"role": "user", "content": "a cat"}]
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "write", "parameters": {}}}
CALL: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "write", "arguments": '{"text": "' + "a" * 1000 + '"}'},
}


def latest(server: Server, model: str) -> Exchange:
    """The last exchange with a model."""
    store = server.store()
    with store.engine.connect() as connection:
        query = "select id from exchanges where model = ? order by created desc limit 1"
        identifier = connection.exec_driver_sql(query, (model,)).scalar_one()
    exchange = store.exchange(identifier)
    store.close()
    assert exchange is not None
    return exchange


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_status_and_body_pass_on(
    server: Server, upstream: StubUpstream, status: int, stream: bool
) -> None:
    upstream.status = status
    upstream.error_headers = {"retry-after": "7"}
    with pytest.raises(openai.APIStatusError, match="out of order") as caught:
        server.client().chat.completions.create(model="auto", messages=MESSAGES, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.type == "stub_error"
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.response.headers["x-protege-route"] == "teacher"
    exchange = latest(server, "gpt-5.4")
    assert exchange.id == caught.value.response.headers["x-request-id"]
    assert (exchange.status, exchange.finish_reason, exchange.cost) == (status, None, 0)


def test_an_error_that_is_not_openais(server: Server, upstream: StubUpstream) -> None:
    upstream.status = 503
    upstream.content = b"<html>Back soon</html>"
    with pytest.raises(openai.InternalServerError, match="Back soon") as caught:
        server.client().chat.completions.create(model="auto", messages=MESSAGES)
    assert caught.value.code == "upstream_error"


def test_the_routers_own_key_is_in_no_error(server: Server, upstream: StubUpstream) -> None:
    # That of the model ``other``.
    upstream.status = 403
    upstream.content = b'{"error": {"message": "not for other-key", "type": "denied"}}'
    with pytest.raises(openai.PermissionDeniedError) as caught:
        server.client().chat.completions.create(model="other", messages=MESSAGES)
    assert "not for ***" in caught.value.message


def test_unreachable(server: Server) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        server.client().chat.completions.create(model="gone", messages=MESSAGES)
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_unreachable"


@pytest.mark.parametrize("stream", [False, True])
def test_past_the_deadline(server: Server, upstream: StubUpstream, stream: bool) -> None:
    upstream.delay_s = 3.0
    started = time.monotonic()
    with pytest.raises(openai.InternalServerError) as caught:
        server.client().chat.completions.create(model="impatient", messages=MESSAGES, stream=stream)
    assert caught.value.status_code == 504
    assert caught.value.code == "upstream_timeout"
    assert time.monotonic() - started < upstream.delay_s


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", b'{"choices": []}'])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_none(
    server: Server, upstream: StubUpstream, content: bytes, stream: bool
) -> None:
    upstream.content = content
    with pytest.raises(openai.InternalServerError) as caught:
        server.client().chat.completions.create(model="auto", messages=MESSAGES, stream=stream)
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_broken"


@pytest.mark.parametrize("fault", ["break_after", "error_after"])
def test_a_broken_stream_ends_with_an_error(
    server: Server, upstream: StubUpstream, fault: str
) -> None:
    setattr(upstream, fault, 2)
    text = ""
    with pytest.raises(openai.APIError):  # noqa: PT012
        for chunk in server.client().chat.completions.create(
            model="auto", messages=MESSAGES, stream=True
        ):
            text += chunk.choices[0].delta.content or ""
    assert text == "ca"
    raw = httpx.post(
        f"{server.url}/chat/completions",
        json={"model": "auto", "messages": MESSAGES, "stream": True},
    )
    assert "[DONE]" not in raw.text
    assert '"code":"upstream_' in raw.text.splitlines()[-2]
    exchange = latest(server, "gpt-5.4")
    assert (exchange.answer, exchange.finish_reason) == ("ca", None)
    # It was paid for, though the upstream never said how much it was.
    assert exchange.cost > 0
    assert exchange.id not in {row.id for row in server.store().teacher_answers(exchange.task)}


def test_a_broken_stream_is_counted_and_logged_as_a_failure(
    server: Server, upstream: StubUpstream
) -> None:
    def broken() -> float:
        return Scraped(server).value("protege_broken_answers_total") or 0.0

    before = broken()
    upstream.break_after = 2
    body = {"model": "auto", "messages": MESSAGES, "stream": True}
    answer = httpx.post(f"{server.url}/chat/completions", json=body)
    assert answer.status_code == 200
    assert eventually(lambda: broken() == before + 1)
    identifier = answer.headers["x-request-id"]
    assert eventually(lambda: any(identifier in line for line in server.errors))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, {"content": "a" * 1000}),
        ({"n": 3, "max_tokens": 200}, {"content": "a" * 1000}),
        ({"tools": [TOOL]}, {"content": "?", "tool_calls": [CALL]}),
        ({"functions": [TOOL["function"]]}, {"content": "?", "function_call": CALL["function"]}),
        ({}, {"content": "?", "reasoning_content": "a" * 1000}),
    ],
)
def test_all_that_a_broken_stream_had_brought_is_paid_for(
    server: Server, upstream: StubUpstream, asked: dict[str, Any], message: dict[str, Any]
) -> None:
    upstream.message = message
    upstream.error_after = len(message["content"]) - 1
    stream = server.client().chat.completions.create(
        model="auto", messages=MESSAGES, stream=True, **asked
    )
    identifier = stream.response.headers["x-request-id"]
    with pytest.raises(openai.APIError):
        list(stream)
    assert server.exchange(identifier).completion_tokens > 150 * asked.get("n", 1)


def test_an_image_is_not_paid_for_by_its_length(upstream: StubUpstream, tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 500_000}}
    content: Any = [{"type": "text", "text": "a cat?"}, image]
    with with_another_model(upstream, tmp_path) as server:
        upstream.error_after = 2
        # Is expected to cost no more than the caller allows.
        stream = server.client().chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": content}],
            stream=True,
            extra_headers={"x-protege-budget": "0.05"},
        )
        identifier = stream.response.headers["x-request-id"]
        with pytest.raises(openai.APIError):
            list(stream)
        assert 1000 < server.exchange(identifier).prompt_tokens < 2000


def test_a_stream_that_dies_before_its_first_token(server: Server, upstream: StubUpstream) -> None:
    upstream.break_after = 0
    with pytest.raises(openai.InternalServerError) as caught:
        server.client().chat.completions.create(model="auto", messages=MESSAGES, stream=True)
    assert caught.value.status_code == 502


def test_a_caller_that_hangs_up_is_on_record(server: Server, upstream: StubUpstream) -> None:
    upstream.gap_s = 0.1
    upstream.answer = lambda text: "a long story about a cat"
    stream = server.client().chat.completions.create(model="auto", messages=MESSAGES, stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    identifier = stream.response.headers["x-request-id"]
    stream.close()
    store = server.store()
    deadline = time.monotonic() + 10
    while (exchange := store.exchange(identifier)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert exchange is not None
    assert exchange.answer is not None
    assert upstream.answer("").startswith(exchange.answer)
    assert exchange.answer != upstream.answer("")
    assert exchange.finish_reason is None
    store.close()


def test_a_truncated_answer_teaches_nobody(server: Server, upstream: StubUpstream) -> None:
    upstream.finish_reason = "length"
    raw = server.client().chat.completions.with_raw_response.create(
        model="auto", messages=MESSAGES, metadata={"task": "truncated"}
    )
    assert raw.parse().choices[0].finish_reason == "length"
    assert not server.store().teacher_answers("truncated")


def test_an_answer_that_cannot_be_stored_is_not_given(upstream: StubUpstream, data: Path) -> None:
    with Server(data, *teacher_flags(upstream), PROTEGE_LOOP__ENABLED="false") as server:
        store = server.store()
        with store.engine.begin() as connection:
            connection.exec_driver_sql("alter table exchanges rename to elsewhere")
        client = server.client()
        for stream in (False, True):
            with pytest.raises(openai.APIError) as caught:  # noqa: PT012
                answer = client.chat.completions.create(
                    model="auto", messages=MESSAGES, stream=stream
                )
                list(answer)
            assert caught.value.code == "store_unavailable"
        # Of the stream the caller has had the text.
        metrics = httpx.get(f"{server.url.removesuffix('v1')}metrics").text
        assert 'protege_lost_exchanges_total{route="teacher"} 1.0' in metrics
        named = [line for line in server.errors if " exchange req_" in line]
        assert len(named) == 2
        said = httpx.post(f"{server.url}/feedback", json={"exchange": "req_0", "thumb": "up"})
        assert (said.status_code, said.json()["error"]["code"]) == (500, "store_unavailable")
        assert not any("Exception" in line for line in server.complaints())
        with store.engine.begin() as connection:
            connection.exec_driver_sql("alter table elsewhere rename to exchanges")
        assert client.chat.completions.create(model="auto", messages=MESSAGES).choices
