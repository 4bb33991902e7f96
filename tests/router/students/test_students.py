"""Requests that a student answers: real students, promoted and demoted while the server runs."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import httpx
import openai
import pytest

from distill.evaluation.strata import Floors, Strata
from distill.students.extraction.answers import find
from distill.students.extraction.training import train
from policies.promise import Promise
from policies.rules import NEVER_ASKED
from policies.tasks import read_prompt
from router.demo.ledger import audits_due
from router.whatif.explained import Explained
from telemetry.audits import AuditTally
from telemetry.exchange import Exchange
from telemetry.store import Audit, Store
from telemetry.turnout import without_student
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually
from tests.router.taught import SENTENCES, TASK, as_json, opposite, promote
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream, label

SURE = "the cat sleeps under the bed"
TAUGHT = "Name the animal. Today is 2026-11-30."


def request(text: str = SURE, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "auto", "messages": messages, "metadata": {"task": TASK}, **more}


def ask(server: Server, text: str = SURE, **more: Any) -> Any:
    return server.client().chat.completions.with_raw_response.create(**request(text, **more))


def stored(server: Server, answer: Any) -> Exchange:
    """The exchange of an answer: a student's is stored soon after the caller has it."""
    return server.exchange_soon(answer.headers["x-request-id"])


def instructed(instruction: str, **more: Any) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": instruction},
        {"role": "user", "content": SURE},
    ]
    return {"messages": messages, "metadata": {"task": "taught"}, **more}


def named_by(instruction: str) -> str:
    return read_prompt(instructed(instruction)).instruction


@pytest.fixture(scope="module")
def running(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("students")
    store = Store(data)
    promote(store, data, "animals-1")
    promote(store, data, "doubtful-1", task="doubtful", threshold=1.01)
    promote(store, data, "objects-1", task="objects", teacher=as_json)
    promote(store, data, "lax-1", task="lax", promise=Promise(0.1, 0.05))
    promote(store, data, "strict-1", task="strict", promise=Promise(0.01, 0.05))
    promote(store, data, "taught-1", task="taught", instructions=(named_by(TAUGHT),))
    promote(store, data, "pets-1", task="pets")
    promote(store, data, "pets-2", task="pets", teacher=opposite, stage="canary")
    store.close()
    environment = {
        "PROTEGE_LOOP__ENABLED": "false",
        "PROTEGE_POLICY__AUDIT_RATE": "0.000001",
        "PROTEGE_TEACHER__TIMEOUT_S": "4",
        "PROTEGE_TEACHER__RETRIES": "0",
        "PROTEGE_TEACHER__BREAKER_FAILURES": "1000000",
    }
    with Server(data, *teacher_flags(shared_upstream), **environment) as server:
        yield server


@pytest.fixture
def server(running: Server, upstream: StubUpstream) -> Server:
    """A server with a student for one task, and with one for another that is never sure."""
    return running


def test_a_sure_student_answers(server: Server, upstream: StubUpstream) -> None:
    answer = ask(server)
    completion = answer.parse()
    assert completion.choices[0].message.content == "cat"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.choices[0].logprobs is None
    assert completion.model == "animals-1"
    assert completion.usage.prompt_tokens == PROMPT_TOKENS
    assert completion.usage.completion_tokens == COMPLETION_TOKENS
    assert answer.headers["x-protege-route"] == "student"
    assert answer.headers["x-protege-reason"] == "student_confident"
    assert answer.headers["x-protege-model"] == "animals-1"
    assert answer.headers["x-protege-cost"] == "0"
    assert not upstream.requests

    exchange = stored(server, answer)
    assert exchange.route == "student"
    assert exchange.answer == "cat"
    assert exchange.teacher_answer is None
    assert exchange.student == "animals-1"
    assert exchange.confidence is not None
    assert exchange.confidence > 0.6
    assert (exchange.cost, exchange.teacher_cost) == (0, 220_000_000)
    assert not exchange.sampled


@pytest.mark.parametrize(("version", "said"), [("pets-1", "cat"), ("pets-2", "dog")])
def test_a_student_is_asked_by_its_version(server: Server, version: str, said: str) -> None:
    client = server.client()
    answer = client.chat.completions.with_raw_response.create(
        model=version, messages=[{"role": "user", "content": SURE}]
    )
    completion = answer.parse()
    assert (completion.choices[0].message.content, completion.model) == (said, version)
    assert answer.headers["x-protege-task"] == "pets"
    assert answer.headers["x-protege-reason"] == "forced"
    assert stored(server, answer).student == version
    assert version in [model.id for model in client.models.list()]
    assert client.models.retrieve(version).id == version


def test_tokens_are_counted_for_a_students_version_as_for_its_task(server: Server) -> None:
    def count(model: str, **headers: str) -> httpx.Response:
        prompt = {"model": model, "messages": [{"role": "user", "content": 100 * SURE}]}
        return httpx.post(f"{server.url}/messages/count_tokens", json=prompt, headers=headers)

    ask(server, 100 * SURE, model="teacher", metadata={"task": "pets"})
    assert abs(count("pets-1").json()["input_tokens"] - PROMPT_TOKENS) <= 3
    refused = count("pets-1", **{"x-protege-task": TASK})
    assert refused.status_code == 400
    assert "is a student of another task: 'pets'" in refused.json()["error"]["message"]


def test_a_student_is_not_asked_what_it_was_not_taught(
    server: Server, upstream: StubUpstream
) -> None:
    def headers(instruction: str, **more: Any) -> Any:
        return ask(server, **instructed(instruction, **more)).headers

    assert headers(TAUGHT)["x-protege-route"] == "student"
    assert headers("Name the animal. Today is 2026-12-01.")["x-protege-route"] == "student"
    answer = ask(server, **instructed("Name the place."))
    assert answer.headers["x-protege-route"] == "teacher"
    assert answer.headers["x-protege-reason"] == "instruction"
    assert stored(server, answer).student is None
    without = ask(server, metadata={"task": "taught"})
    assert without.headers["x-protege-reason"] == "instruction"
    # What it would say is no answer to what is asked, also where nobody else gives one.
    upstream.status = 500
    with pytest.raises(openai.InternalServerError):
        headers("Name the place.")
    assert headers(TAUGHT)["x-protege-route"] == "student"


@pytest.mark.parametrize("model", ["student", "taught-1"])
def test_who_names_a_student_need_not_repeat_its_instruction(server: Server, model: str) -> None:
    answer = ask(server, model=model, metadata={"task": "taught"})
    assert answer.headers["x-protege-reason"] == "forced"
    assert answer.parse().choices[0].message.content == "cat"


def test_a_student_is_not_asked_about_another_task(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="student of another task: 'pets'") as caught:
        ask(server, model="pets-1")
    assert caught.value.param == "model"
    with pytest.raises(openai.BadRequestError, match="student of another task: 'pets'"):
        server.client().chat.completions.create(
            model="pets-1",
            messages=[{"role": "user", "content": SURE}],
            extra_headers={"x-protege-task": TASK},
        )
    assert ask(server, model="pets-1", metadata={"task": "pets"}).parse().model == "pets-1"


def test_a_student_that_is_unsure_asks_the_teacher(server: Server) -> None:
    answer = ask(server, metadata={"task": "doubtful"})
    assert answer.headers["x-protege-route"] == "teacher"
    assert answer.headers["x-protege-reason"] == "student_unsure"
    exchange = stored(server, answer)
    assert exchange.student == "doubtful-1"
    assert exchange.confidence is not None
    assert exchange.teacher_answer == "cat"


def test_student_stream(server: Server) -> None:
    chunks = list(
        server.client().chat.completions.create(
            **request(stream=True, stream_options={"include_usage": True})
        )
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "cat"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.prompt_tokens == PROMPT_TOKENS
    assert len({chunk.id for chunk in chunks}) == 1
    plain = list(server.client().chat.completions.create(**request(stream=True)))
    assert all(chunk.choices and chunk.usage is None for chunk in plain)


def test_logprobs(server: Server) -> None:
    choice = ask(server, logprobs=True, top_logprobs=2).parse().choices[0]
    (token,) = choice.logprobs.content
    assert token.token == "cat"
    assert bytes(token.bytes) == b"cat"
    assert math.exp(token.logprob) > 0.6
    assert [alternative.token for alternative in token.top_logprobs] == ["cat", "dog"]
    assert sum(math.exp(a.logprob) for a in token.top_logprobs) == pytest.approx(1, abs=1e-6)
    (bare,) = ask(server, logprobs=True).parse().choices[0].logprobs.content
    assert bare.top_logprobs == []
    # The answer is one of the alternatives.
    assert bare.logprob == token.logprob == token.top_logprobs[0].logprob


@pytest.mark.parametrize("stream", [False, True])
def test_the_stored_completion_has_the_logprobs_that_the_caller_got(
    server: Server, stream: bool
) -> None:
    def kept(**more: Any) -> Any:
        answer = ask(server, stream=stream, **more)
        parsed = answer.parse()
        shown = [chunk.choices[0] for chunk in parsed] if stream else parsed.choices
        exchange = stored(server, answer)
        assert exchange.student is not None
        assert exchange.completion_id is not None
        completion = server.client().chat.completions.retrieve(exchange.completion_id)
        (choice,) = completion.choices
        assert choice.message.content == exchange.answer
        return choice.logprobs, next((one.logprobs for one in shown if one.logprobs), None)

    got, shown = kept(logprobs=True, top_logprobs=2)
    assert [token.token for token in got.content] == ["cat"]
    assert got.model_dump() == shown.model_dump()
    assert kept() == (None, None)
    private = stored(server, ask(server, logprobs=True, store=False, stream=stream))
    assert (private.student is not None, private.choices) == (True, None)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
        ({"n": 2}, "n"),
        ({"logit_bias": {"1734": -100}}, "logit_bias"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"max_tokens": COMPLETION_TOKENS - 1}, "max_tokens"),
        ({"max_completion_tokens": 1}, "max_tokens"),
        ({"stop": ["a"]}, "stop"),
        ({"metadata": {"task": "never seen before"}}, "no_student"),
        ({"model": "teacher"}, "forced"),
    ],
)
def test_what_only_the_teacher_can_do(server: Server, more: dict[str, Any], reason: str) -> None:
    answer = ask(server, **more)
    assert answer.headers["x-protege-route"] == "teacher"
    assert answer.headers["x-protege-reason"] == reason


def test_what_only_the_teacher_can_do_is_not_like_what_came_before_a_student(
    server: Server,
) -> None:
    """Such requests make no teacher answer of another kind count for less."""
    task: Any = {"metadata": {"task": "pictures"}}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    seen: Any = {"messages": [{"role": "user", "content": [picture]}]}
    plain = stored(server, ask(server, **task))
    assert stored(server, ask(server, **task, **seen)).reason == "modality"
    assert stored(server, ask(server, **task, **seen, **terms(bound=0.01))).reason == "modality"
    assert stored(server, ask(server, **task, n=2)).reason == "n"
    assert stored(server, ask(server, **task, logit_bias={"1734": 1})).reason == "logit_bias"
    assert stored(server, ask(server, metadata={"task": TASK}, n=2)).student is None
    store = server.store()
    assert without_student(store.engine, "pictures", plain.created, NEVER_ASKED) == 1
    assert without_student(store.engine, TASK, plain.created, NEVER_ASKED) == 0
    store.close()


@pytest.mark.parametrize(
    "more",
    [
        {"tools": []},
        {"n": 1},
        {"response_format": {"type": "text"}},
        {"max_tokens": COMPLETION_TOKENS},
        {"stop": "\n"},
        {"model": "student"},
        {"temperature": 0.0, "seed": 7},
    ],
)
def test_what_a_student_can_do(server: Server, more: dict[str, Any]) -> None:
    assert ask(server, **more).headers["x-protege-route"] == "student"


def animal_schema(*animals: str) -> dict[str, Any]:
    properties = {"animal": {"enum": animals}}
    schema = {"type": "object", "properties": properties, "required": ["animal"]}
    return {"type": "json_schema", "json_schema": {"name": "animal", "schema": schema}}


@pytest.mark.parametrize("stream", [False, True])
def test_a_students_answer_must_have_the_required_format(server: Server, stream: bool) -> None:
    as_object: Any = {"metadata": {"task": "objects"}, "stream": stream}
    for fitting in ({"type": "json_object"}, animal_schema("cat", "dog")):
        answer = ask(server, response_format=fitting, **as_object)
        assert answer.headers["x-protege-route"] == "student"
    answer = ask(server, response_format=animal_schema("cow"), **as_object)
    assert answer.headers["x-protege-route"] == "teacher"
    assert answer.headers["x-protege-reason"] == "response_format"
    with pytest.raises(openai.BadRequestError, match="response_format"):
        ask(server, model="student", response_format=animal_schema("cow"), **as_object)


def terms(**more: Any) -> Any:
    return {"extra_headers": {f"x-protege-{name}": str(value) for name, value in more.items()}}


def test_a_student_is_not_trusted_beyond_the_bound_it_was_tested_for(server: Server) -> None:
    assert ask(server, **terms(bound=0.05)).headers["x-protege-route"] == "student"
    answer = ask(server, **terms(bound=0.01))
    assert answer.headers["x-protege-route"] == "teacher"
    assert answer.headers["x-protege-reason"] == "bound"


def test_a_student_that_was_tested_for_less_than_is_promised_now(server: Server) -> None:
    lax: Any = {"metadata": {"task": "lax"}}
    assert ask(server, **lax).headers["x-protege-route"] == "student"
    assert ask(server, **lax, **terms(bound=0.1)).headers["x-protege-route"] == "student"
    assert ask(server, **lax, **terms(bound=0.07)).headers["x-protege-reason"] == "bound"
    # Audits do not watch over what it was tested for where that is more.
    strict: Any = {"metadata": {"task": "strict"}}
    assert ask(server, **strict, **terms(bound=0.05)).headers["x-protege-route"] == "student"
    assert ask(server, **strict, **terms(bound=0.01)).headers["x-protege-reason"] == "bound"


@pytest.mark.parametrize("stream", [False, True])
def test_the_student_answers_when_the_teacher_has_not_by_the_deadline(
    server: Server, upstream: StubUpstream, stream: bool
) -> None:
    upstream.delay_s = 0.8
    doubtful: Any = {"metadata": {"task": "doubtful"}, "stream": stream}
    answer = ask(server, **doubtful, **terms(deadline=0.1))
    assert answer.headers["x-protege-route"] == "student"
    assert answer.headers["x-protege-reason"] == "deadline"
    assert stored(server, answer).latency_s < upstream.delay_s
    answer = ask(server, **doubtful, **terms(deadline=30))
    assert answer.headers["x-protege-route"] == "teacher"
    with pytest.raises(openai.InternalServerError) as caught:
        ask(server, metadata={"task": "unknown"}, stream=stream, **terms(deadline=0.1))
    assert caught.value.status_code == 504
    assert caught.value.param == "x-protege-deadline"


def test_the_student_answers_what_the_teacher_is_too_dear_for(server: Server) -> None:
    doubtful: Any = {"metadata": {"task": "doubtful"}}
    answer = ask(server, **doubtful, **terms(budget=1))
    assert answer.headers["x-protege-route"] == "teacher"
    answer = ask(server, **doubtful, **terms(budget=0.0000001))
    assert answer.headers["x-protege-route"] == "student"
    assert answer.headers["x-protege-reason"] == "budget"
    assert answer.headers["x-protege-cost"] == "0"
    assert float(answer.headers["x-protege-saved"]) > 0
    with pytest.raises(openai.BadRequestError) as caught:
        ask(server, metadata={"task": "unknown"}, **terms(budget=0.0000001))
    assert caught.value.code == "budget_exceeded"
    assert caught.value.param == "x-protege-budget"


@pytest.mark.parametrize("model", ["teacher", "gpt-5.4-mini"])
def test_a_model_that_is_asked_for_by_name_may_be_too_dear(server: Server, model: str) -> None:
    assert ask(server, model=model, **terms(budget=1)).headers["x-protege-reason"] == "forced"
    with pytest.raises(openai.BadRequestError) as caught:
        ask(server, model=model, **terms(budget=0.0000001))
    assert (caught.value.code, caught.value.param) == ("budget_exceeded", "x-protege-budget")


def test_what_several_answers_cost_is_counted_before_they_are_asked_for(server: Server) -> None:
    # One takes some 8 tokens, or 64 while nothing is known: a ten-thousandth of a dollar or more.
    few: Any = {"model": "teacher", "metadata": {"task": "several"}, **terms(budget=0.005)}
    assert ask(server, n=2, **few).headers["x-protege-reason"] == "forced"
    with pytest.raises(openai.BadRequestError) as caught:
        ask(server, n=100, **few)
    assert caught.value.code == "budget_exceeded"


@pytest.mark.parametrize(
    ("name", "value"),
    [("bound", "2"), ("bound", "x"), ("deadline", "0"), ("deadline", "inf"), ("budget", "-1")],
)
def test_terms_that_make_no_sense(server: Server, name: str, value: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(server, **terms(**{name: value}))
    assert caught.value.param == f"x-protege-{name}"


def test_the_header_names_the_task_unless_the_body_does(server: Server) -> None:
    messages: Any = [{"role": "user", "content": SURE}]
    create = server.client().chat.completions.with_raw_response.create
    named = create(model="auto", messages=messages, **terms(task="objects"))
    assert named.headers["x-protege-task"] == "objects"
    assert ask(server, **terms(task="objects")).headers["x-protege-task"] == TASK


def test_images_go_to_the_teacher(server: Server) -> None:
    parts = [
        {"type": "text", "text": SURE},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
    ]
    content: Any = [{"role": "user", "content": parts}]
    assert ask(server, messages=content).headers["x-protege-reason"] == "modality"
    content = [{"role": "user", "content": parts[:1]}]
    assert ask(server, messages=content).headers["x-protege-route"] == "student"


def test_a_forced_student_says_what_it_cannot_do(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="tools") as caught:
        ask(
            server, model="student", messages=[{"role": "tool", "content": "", "tool_call_id": "1"}]
        )
    assert caught.value.code == "student_unable"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault", [{"status": 429}, {"status": 500}, {"delay_s": 9.0}, {"content": b"<html>"}]
)
def test_the_student_stands_in(
    server: Server, upstream: StubUpstream, fault: dict[str, Any], stream: bool
) -> None:
    for name, value in fault.items():
        setattr(upstream, name, value)
    answer = ask(server, metadata={"task": "doubtful"}, stream=stream)
    assert answer.headers["x-protege-route"] == "student"
    assert answer.headers["x-protege-reason"] == "teacher_down"
    assert len(upstream.requests) == 1
    exchange = stored(server, answer)
    assert (exchange.status, exchange.answer, exchange.teacher_answer) == (200, "cat", None)


def test_nobody_stands_in_for_what_the_caller_insists_on(
    server: Server, upstream: StubUpstream
) -> None:
    upstream.status = 500
    for more in ({"model": "teacher"}, {"n": 2}):
        with pytest.raises(openai.InternalServerError):
            ask(server, **more)
    upstream.status = 400
    with pytest.raises(openai.BadRequestError):
        ask(server, metadata={"task": "doubtful"})


def test_not_stored(server: Server) -> None:
    exchange = stored(server, ask(server, store=False))
    assert (exchange.request, exchange.answer) == (None, None)
    assert exchange.route == "student"


async def test_promotion_under_load(upstream: StubUpstream, data: Path) -> None:
    """No request fails while a student takes over, and once it has, it answers all."""
    with Server(data, *teacher_flags(upstream), PROTEGE_LOOP__ENABLED="false") as server:
        store = server.store()
        routes: list[str] = []
        stop = asyncio.Event()
        callers = 4

        async def caller(client: httpx.AsyncClient, offset: int) -> None:
            while not stop.is_set():
                offset += 1
                body = request(SENTENCES[offset % len(SENTENCES)], stream=offset % 2 == 0)
                answer = await client.post(f"{server.url}/chat/completions", json=body)
                assert answer.status_code == 200, answer.text
                assert "error" not in answer.text
                routes.append(answer.headers["x-protege-route"])

        async def stays(route: str) -> None:
            """Wait until every caller has had that route, and then some more."""
            async with asyncio.timeout(30):
                while set(routes[-2 * callers :]) != {route}:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                since = len(routes)
                while len(routes) < since + 50:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert set(routes[since:]) == {route}

        async with httpx.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as calling:
            for k in range(callers):
                calling.create_task(caller(client, 10 * k))
            await stays("teacher")
            await asyncio.to_thread(promote, store, data, "animals-1")
            await stays("student")
            demote = store.roster.demote
            await asyncio.to_thread(demote, TASK, "animals-1", "for the test", time.time())
            await stays("teacher")
            stop.set()
        store.close()


def test_audits(upstream: StubUpstream, data: Path) -> None:
    store = Store(data)
    promote(store, data, "animals-1")
    environment = {"PROTEGE_LOOP__ENABLED": "false", "PROTEGE_POLICY__AUDIT_RATE": "1"}
    with Server(data, *teacher_flags(upstream), **environment) as server:
        answer = ask(server, stream=True)
        private = ask(server, store=False)
        assert eventually(lambda: stored(server, answer).agreed is not None)
        assert eventually(lambda: stored(server, private).agreed is not None)
        exchange = stored(server, answer)
        assert exchange.sampled
        assert exchange.agreed is True
        assert exchange.teacher_answer == "cat"
        assert exchange.audit_cost == 220_000_000
        assert exchange.audit_latency_s is not None
        assert exchange.audit_latency_s > 0
        assert stored(server, private).teacher_answer is None
        assert "stream" not in upstream.requests[0].body
        assert store.teacher_answers(TASK)[0].id == exchange.id
        metrics = httpx.get(f"{server.url.removesuffix('/v1')}/metrics").text
        assert f'protege_audits_total{{task="{TASK}"}} 2.0' in metrics
        assert f'protege_student_serving{{task="{TASK}"}} 1.0' in metrics
    store.close()


def test_an_audit_that_cannot_be_stored_is_one_line_in_the_log(
    upstream: StubUpstream, data: Path
) -> None:
    store = Store(data)
    promote(store, data, "animals-1")
    environment = {"PROTEGE_LOOP__ENABLED": "false", "PROTEGE_POLICY__AUDIT_RATE": "1"}
    with Server(data, *teacher_flags(upstream), **environment) as server:
        upstream.delay_s = 0.5
        answer = ask(server)
        assert stored(server, answer).route == "student"
        with store.engine.begin() as connection:
            connection.exec_driver_sql("alter table exchanges rename to elsewhere")
        said = f"an audit of task {TASK} could not be stored or judged: OperationalError"
        assert eventually(lambda: any(said in line for line in server.errors))
        with store.engine.begin() as connection:
            connection.exec_driver_sql("alter table elsewhere rename to exchanges")
    assert sum(said in line for line in server.errors) == 1
    assert not any(line.startswith(" ") for line in server.errors)
    store.close()


@pytest.mark.parametrize("cause", ["length", "content_filter", "no text"])
def test_an_audit_in_which_the_teacher_gives_no_whole_answer_says_nothing(
    upstream: StubUpstream, data: Path, cause: str
) -> None:
    """Such answers are no evidence at the gate; so they must not take a student out of service."""
    store = Store(data)
    promote(store, data, "animals-1")
    if cause == "no text":
        upstream.message = {"role": "assistant", "content": None}
    else:
        upstream.finish_reason = cause
    environment = {"PROTEGE_LOOP__ENABLED": "false", "PROTEGE_POLICY__AUDIT_RATE": "1"}
    with Server(data, *teacher_flags(upstream), **environment) as server:
        answers = [ask(server) for _ in range(20)]
        assert eventually(lambda: all(stored(server, one).audited for one in answers))
        exchange = stored(server, answers[0])
        assert (exchange.agreed, exchange.teacher_answer) == (None, None)
        assert exchange.audit_cost == 220_000_000
        assert store.audit_blocks("animals-1").total == AuditTally(0, 0)
        assert not store.teacher_answers(TASK)
        assert store.left_out(TASK) == {"no_text": 20}
        assert ask(server).headers["x-protege-route"] == "student"
        use = store.task_use(TASK, 0.0)
        assert use is not None
        assert use.audits == 0
        metrics = httpx.get(f"{server.url.removesuffix('/v1')}/metrics").text
        assert f'protege_audits_total{{task="{TASK}"}} 0.0' in metrics
        assert f'protege_audit_disagreements_total{{task="{TASK}"}} 0.0' in metrics
        assert f'protege_audit_cost_usd_total{{task="{TASK}"}} 0.0\n' not in metrics
        found = Explained.find(store, exchange.id)
        assert found is not None
        assert any("gave no answer to compare" in line for line in found.lines())
    assert audits_due(data) == 0
    store.close()


def test_a_student_that_breaks_the_promise_is_demoted(upstream: StubUpstream, data: Path) -> None:
    store = Store(data)
    promote(store, data, "wrong-1", teacher=opposite)
    environment = {"PROTEGE_LOOP__ENABLED": "false", "PROTEGE_POLICY__AUDIT_RATE": "1"}
    with Server(data, *teacher_flags(upstream), **environment) as server:
        answer = ask(server)
        assert answer.parse().choices[0].message.content == opposite(SURE)

        def back_with_the_teacher() -> bool:
            return bool(ask(server).headers["x-protege-route"] == "teacher")

        assert eventually(back_with_the_teacher)
        (record,) = store.roster.students(TASK)
        assert not record.serving
        assert "audits disagree" in record.verdict
        assert ask(server).parse().choices[0].message.content == label(SURE)
    store.close()


def test_a_student_that_becomes_worse_is_demoted_for_it(upstream: StubUpstream, data: Path) -> None:
    store = Store(data)
    promote(store, data, "wrong-1", teacher=opposite)
    long_ago = time.time() - 3600
    for number in range(500):
        agreed = Audit(f"good-{number}", "cat", True, 1, audited=long_ago + number)
        store.write([answered_well(agreed.id, long_ago)], [agreed])
    environment = {"PROTEGE_LOOP__ENABLED": "false", "PROTEGE_POLICY__AUDIT_RATE": "1"}
    with Server(data, *teacher_flags(upstream), **environment) as server:
        first = ask(server)
        assert eventually(lambda: ask(server).headers["x-protege-route"] == "teacher")
        audited = stored(server, first).audited
        assert audited is not None
        assert long_ago + 3600 < audited < time.time()
    (record,) = store.roster.students(TASK)
    # Less than one in a hundred of all.
    found = re.fullmatch(r"demoted: (\d+) of the last (\d+) audits disagree", record.verdict)
    assert found is not None, record.verdict
    assert found[1] == found[2]
    store.close()


AT_HOME, ELSEWHERE = "up to 22 characters", "over 22 characters"
"""Sentences that end in "at home", and all others."""


def by_length(**thresholds: float) -> Floors:
    strata = Strata("length", (AT_HOME, ELSEWHERE), (22,))
    names = {"at_home": AT_HOME, "elsewhere": ELSEWHERE}
    return Floors(strata, {names[name]: value for name, value in thresholds.items()})


def test_a_slice_that_is_left_to_the_teacher(upstream: StubUpstream, data: Path) -> None:
    store = Store(data)
    promote(store, data, "part-1", floors=by_length(elsewhere=0.6))
    store.close()
    with Server(data, *teacher_flags(upstream), PROTEGE_LOOP__ENABLED="false") as server:
        elsewhere = ask(server, "the cat sleeps in the garden")
        at_home = ask(server, "the cat sleeps at home")
        assert elsewhere.headers["x-protege-route"] == "student"
        assert at_home.headers["x-protege-route"] == "teacher"
        assert at_home.headers["x-protege-reason"] == "student_unsure"
        assert stored(server, elsewhere).stratum == ELSEWHERE
        assert stored(server, at_home).stratum == AT_HOME


def test_a_slice_that_breaks_the_promise_takes_its_student_out_of_service(
    upstream: StubUpstream, data: Path
) -> None:
    """Its audits disagree while those of all requests, a few in a hundred, do not tell."""
    store = Store(data)
    promote(store, data, "wrong-1", teacher=opposite, floors=by_length(at_home=0.6, elsewhere=0.6))
    long_ago = time.time() - 3600
    for number in range(500):
        bad = number % 50 == 0
        audit = Audit(f"audit-{number}", "cat", not bad, 1, audited=long_ago + number)
        seen = replace(answered_well(audit.id, long_ago), stratum=AT_HOME if bad else ELSEWHERE)
        store.write([seen], [audit])
    environment = {"PROTEGE_LOOP__ENABLED": "false", "PROTEGE_POLICY__AUDIT_RATE": "1"}
    with Server(data, *teacher_flags(upstream), **environment) as server:
        assert ask(server, "the dog sleeps at home").headers["x-protege-route"] == "student"
        assert eventually(lambda: not any(each.serving for each in store.roster.students(TASK)))
    (record,) = store.roster.students(TASK)
    assert record.verdict == f"demoted: 11 of 11 audits of '{AT_HOME}' disagree"
    store.close()


def test_a_student_that_copies_its_answers(upstream: StubUpstream, data: Path) -> None:
    rng = Random(0)
    codes = [f"{rng.choice('ABC')}{rng.randrange(10**5):05}" for _ in range(300)]
    letters = [f"Where is order {code}?" for code in codes]
    found = find(letters, codes)
    assert found is not None
    rung = train(letters, codes, found, range(len(letters))).rung
    store = Store(data)
    promote(store, data, "copies-1", rungs=(rung,))
    store.close()
    with Server(data, *teacher_flags(upstream), PROTEGE_LOOP__ENABLED="false") as server:
        answer = ask(server, "Where is order C77715?")
        assert answer.headers["x-protege-model"] == "copies-1"
        assert answer.parse().choices[0].message.content == "C77715"


def answered_well(identifier: str, created: float) -> Exchange:
    return Exchange(
        id=identifier,
        created=created,
        task=TASK,
        route="student",
        model="wrong-1",
        reason="student_confident",
        status=200,
        stream=False,
        sampled=True,
        student="wrong-1",
    )


def test_audits_under_way_are_finished_on_a_graceful_stop(
    upstream: StubUpstream, data: Path
) -> None:
    store = Store(data)
    promote(store, data, "animals-1")
    environment = {"PROTEGE_LOOP__ENABLED": "false", "PROTEGE_POLICY__AUDIT_RATE": "1"}
    upstream.delay_s = 1.0
    with Server(data, *teacher_flags(upstream), **environment) as server:
        answer = ask(server)
        assert stored(server, answer).agreed is None
        assert server.stop() == 0
    exchange = store.exchange(answer.headers["x-request-id"])
    assert exchange is not None
    assert exchange.agreed is True
    store.close()


def test_a_student_that_cannot_be_loaded_harms_nobody(upstream: StubUpstream, data: Path) -> None:
    store = Store(data)
    promote(store, data, "animals-1")
    manifest = data / "students" / "animals-1" / "ladder.json"
    manifest.write_text(json.dumps({"version": "animals-1"}))
    with Server(data, *teacher_flags(upstream), PROTEGE_LOOP__ENABLED="false") as server:
        assert ask(server).headers["x-protege-reason"] == "no_student"
        promote(store, data, "animals-2")
        assert eventually(lambda: ask(server).headers["x-protege-model"] == "animals-2")
        server.stop()
        assert sum("cannot be loaded" in line for line in server.errors) == 1
    store.close()


def test_what_a_student_said_and_why_is_on_record(server: Server) -> None:
    doubtful = stored(server, ask(server, metadata={"task": "doubtful"}))
    assert (doubtful.answer, doubtful.student_answer) == ("cat", "cat")
    assert doubtful.propensity == 1.0
    decision = json.loads(doubtful.decision or "")
    assert decision["reason"] == "student_unsure"
    assert decision["student"]["agreement"] == doubtful.confidence < decision["threshold"]
    sure = stored(server, ask(server))
    assert sure.propensity == pytest.approx(1e-6)
    assert json.loads(sure.decision or "")["route"] == "student"
    forced = stored(server, ask(server, model="teacher"))
    assert (forced.decision, forced.propensity, forced.student_answer) == (None, None, None)
    silent = stored(server, ask(server, store=False))
    assert silent.student_answer is None
