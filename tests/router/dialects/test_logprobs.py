"""Log-probabilities that the router asks the teacher for: for the log, not for the caller."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from distill.data.dataset import build
from distill.students.text.lesson import lesson
from tests.router.conftest import teacher_flags
from tests.router.server import Server
from tests.router.upstream import StubUpstream

ASKED = 3


@pytest.fixture(scope="module")
def running(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    environment = {"PROTEGE_TEACHER_LOGPROBS": str(ASKED), "PROTEGE_LOOP__ENABLED": "false"}
    data = tmp_path_factory.mktemp("logprobs") / "data"
    with Server(data, *teacher_flags(shared_upstream), **environment) as server:
        yield server


def ask(server: Server, **more: Any) -> Any:
    return server.client().chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": "a cat"}], **more
    )


def logged(server: Server, answer: Any) -> list[Any]:
    """The tokens that the log has."""
    exchange = server.exchange(answer.headers["x-request-id"])
    assert exchange.teacher_answer == "cat"
    assert exchange.choices is not None
    (choice,) = json.loads(exchange.choices)
    return choice["logprobs"]["content"]


@pytest.mark.parametrize("stream", [False, True])
def test_they_are_logged_and_not_shown(
    running: Server, upstream: StubUpstream, stream: bool
) -> None:
    answer = ask(running, stream=stream)
    if stream:
        assert all(chunk.choices[0].logprobs is None for chunk in answer.parse())
    else:
        (choice,) = answer.parse().choices
        assert choice.logprobs is None
        assert choice.message.content == "cat"
    body = upstream.requests[-1].body
    assert (body["logprobs"], body["top_logprobs"]) == (True, ASKED)
    tokens = logged(running, answer)
    assert "".join(token["token"] for token in tokens) == "cat"
    assert {len(token["top_logprobs"]) for token in tokens} == {ASKED}


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_student_is_told_of_them(running: Server, stream: bool) -> None:
    exchange = running.exchange_soon(ask(running, stream=stream).headers["x-request-id"])
    (example,) = build([exchange]).examples
    told = lesson(example.text, example.answer, example.request, example.choices).told
    half, tenth = math.log(0.5), math.log(0.1)
    assert told == tuple((letter, {"?": tenth, letter: half}) for letter in "cat")


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_asks_for_them_gets_what_it_asked_for(
    running: Server, upstream: StubUpstream, stream: bool
) -> None:
    answer = ask(running, stream=stream, logprobs=True, top_logprobs=1)
    if stream:
        shown = [
            token
            for chunk in answer.parse()
            if chunk.choices[0].logprobs
            for token in chunk.choices[0].logprobs.content
        ]
    else:
        shown = answer.parse().choices[0].logprobs.content
    assert [len(token.top_logprobs) for token in shown] == [1, 1, 1]
    assert upstream.requests[-1].body["top_logprobs"] == 1
    assert len(logged(running, answer)) == 3


def test_without_the_setting_nobody_asks(server: Server, upstream: StubUpstream) -> None:
    ask(server)
    assert "logprobs" not in upstream.requests[-1].body


def test_with_store_false_they_are_not_kept(running: Server) -> None:
    answer = ask(running, store=False)
    assert running.exchange(answer.headers["x-request-id"]).choices is None
