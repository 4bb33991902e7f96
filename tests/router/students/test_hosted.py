"""Hosted models: tried beside the teacher, and asked in a student's place."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from distill.students import hosted
from distill.students.hosted import HostedRung
from distill.students.ladder import Ladder
from distill.students.usage import UsageModel
from telemetry import spending, tryouts
from telemetry.exchange import PICO, Exchange, StudentRecord, TaskState
from telemetry.figures import sums
from telemetry.spending import Payer
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually
from tests.router.taught import SENTENCES, TASK, opposite
from tests.router.upstream import PROMPT_TOKENS, StubUpstream, label

MODEL = "gpt-5.4-mini"
SURE = "the cat sleeps under the bed"
UNSURE = "the dog sleeps under the bed"
OPEN = "open"
"""A task without a student."""


@cache
def rung() -> HostedRung:
    """It is right about cats and wrong about dogs."""
    agreed = np.array([label(sentence) == "cat" for sentence in SENTENCES])
    return hosted.train(MODEL, SENTENCES, agreed, SENTENCES).rung


def promote(store: Store, data: Path, task: str = TASK, model: str = MODEL) -> None:
    made = rung()
    rungs = (HostedRung(model, made.difficulty, made.calibration, made.novelty),)
    usage = UsageModel(PROMPT_TOKENS, 0.0, {}, 0.0, None)
    version = f"{task}-hosted"
    ladder = Ladder(version, task, 0.7, 0.5, "", rungs, usage, saves=0.4)
    ladder.save(data / "students" / version)
    card = json.dumps({"gate": {"threshold": 0.7, "reason": "passed its test"}})
    path = f"students/{version}"
    record = StudentRecord(version, task, time.time(), path, True, "passed its test", card)
    assert store.roster.close_run(TaskState(task), record)


def request(text: str = SURE, task: str = TASK, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "auto", "messages": messages, "metadata": {"task": task}, **more}


def ask(server: Server, text: str = SURE, **more: Any) -> Any:
    return server.client().chat.completions.with_raw_response.create(**request(text, **more))


def of(server: Server, answer: Any) -> Exchange:
    return server.exchange_soon(answer.headers["x-request-id"])


def configured(folder: Path, small: StubUpstream, **hosted: Any) -> tuple[str, ...]:
    bare = {"base_url": small.url, "api_key": "small-key", "retries": 0}
    models = [{"model": MODEL, "breaker_failures": 1_000_000, **bare}]
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "protege.yaml"
    settings = {"loop": {"enabled": False}, "hosted": {"models": models, **hosted}}
    config.write_text(json.dumps(settings))
    return ("--config", str(config))


@pytest.fixture
def small(another_upstream: StubUpstream) -> StubUpstream:
    """The cheaper provider. It takes everything for a cat."""
    another_upstream.reset()
    another_upstream.answer = lambda _text: "cat"
    return another_upstream


@pytest.fixture(scope="module")
def running(
    shared_upstream: StubUpstream,
    another_upstream: StubUpstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hosted")
    store = Store(folder)
    promote(store, folder)
    promote(store, folder, task="elsewhere", model="never-configured")
    store.close()
    flags = (*teacher_flags(shared_upstream), *configured(folder, another_upstream, share=1e-9))
    environment = {"PROTEGE_POLICY__AUDIT_RATE": "0.000001", "PROTEGE_TEACHER__RETRIES": "0"}
    environment["PROTEGE_TEACHER__BREAKER_FAILURES"] = "1000000"
    with Server(folder, *flags, **environment) as server:
        yield server


@pytest.fixture
def server(running: Server, upstream: StubUpstream, small: StubUpstream) -> Server:
    return running


@pytest.mark.parametrize("stream", [False, True])
def test_a_hosted_student_answers(
    server: Server, upstream: StubUpstream, small: StubUpstream, stream: bool
) -> None:
    answer = ask(server, stream=stream)
    assert answer.headers["x-protege-route"] == "student"
    assert answer.headers["x-protege-reason"] == "student_confident"
    assert answer.headers["x-protege-model"] == MODEL
    assert float(answer.headers["x-protege-cost"]) > 0
    assert float(answer.headers["x-protege-saved"]) > 0
    if stream:
        said = "".join(chunk.choices[0].delta.content or "" for chunk in answer.parse())
    else:
        said = answer.parse().choices[0].message.content
    assert said == "cat"
    assert not upstream.requests
    (received,) = small.requests
    assert received.body["model"] == MODEL
    assert received.headers["authorization"] == "Bearer small-key"
    exchange = of(server, answer)
    assert (exchange.route, exchange.model, exchange.student) == (
        "student",
        MODEL,
        f"{TASK}-hosted",
    )
    assert (exchange.answer, exchange.student_answer, exchange.teacher_answer) == (
        "cat",
        "cat",
        None,
    )
    assert 0 < exchange.cost < exchange.teacher_cost
    assert exchange.confidence is not None
    assert exchange.confidence >= 0.7
    assert exchange.attempts == 1


def test_what_it_is_not_sure_of_is_the_teachers(server: Server, small: StubUpstream) -> None:
    answer = ask(server, UNSURE)
    assert answer.headers["x-protege-route"] == "teacher"
    assert answer.headers["x-protege-reason"] == "student_unsure"
    assert answer.parse().choices[0].message.content == "dog"
    assert of(server, answer).student_answer is None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 400}, {"status": 429}, {"content": b"<html>"}]
)
def test_the_teacher_answers_where_it_fails(
    server: Server, small: StubUpstream, fault: dict[str, Any], stream: bool
) -> None:
    for name, value in fault.items():
        setattr(small, name, value)
    answer = ask(server, stream=stream)
    assert answer.headers["x-protege-route"] == "teacher"
    assert answer.headers["x-protege-reason"] == "hosted_down"
    exchange = of(server, answer)
    assert (exchange.route, exchange.reason, exchange.attempts) == ("teacher", "hosted_down", 2)
    assert exchange.propensity == 1.0
    assert json.loads(exchange.decision or "")["route"] == "teacher"


@pytest.fixture
def saving(upstream: StubUpstream, small: StubUpstream, data: Path) -> Callable[[float], Server]:
    """Makes a server with a budget of so many USD, which audits all."""
    store = Store(data)
    promote(store, data)
    store.close()
    flags = (*teacher_flags(upstream), *configured(data, small, share=1e-9))

    def make(usd: float) -> Server:
        budget = {"usd": usd, "period": "month"}
        policy = {"name": "budget", "budget": budget, "audit_rate": 1}
        return Server(data, *flags, PROTEGE_POLICY=json.dumps(policy))

    return make


def left(server: Server) -> float:
    """USD of the budget."""
    metrics = httpx.get(server.url.replace("/v1", "/metrics")).text
    (found,) = re.findall(r"^protege_policy_budget_left_usd.* (\S+)$", metrics, re.MULTILINE)
    return float(found)


def test_what_is_held_for_an_audit_that_there_is_not_is_given_back(
    saving: Callable[[float], Server], small: StubUpstream
) -> None:
    with saving(1) as server:
        # The hosted model is asked first, and again for what comes next.
        named: Any = {"metadata": {"task": TASK, "conversation": "c"}}
        answer = ask(server, extra_headers={"x-protege-budget": "0.0009"}, **named)
        assert answer.headers["x-protege-route"] == "student"
        small.status = 500
        answer = ask(server, **named)
        assert answer.headers["x-protege-reason"] == "hosted_down"
        store = server.store()

        def settled() -> bool:
            spent = spending.spent(store.engine, Payer(), 0.0) / PICO
            return left(server) == pytest.approx(1 - spent, abs=1e-12)

        assert eventually(settled)
        store.close()


def test_the_teacher_does_not_answer_where_the_budget_cannot_pay_for_it(
    saving: Callable[[float], Server], upstream: StubUpstream, small: StubUpstream
) -> None:
    with saving(0.002) as server:
        small.status = 500
        with pytest.raises(openai.RateLimitError) as caught:
            ask(server)
        assert caught.value.code == "insufficient_quota"
        assert (len(small.requests), len(upstream.requests)) == (1, 0)
        exchange = of(server, caught.value.response)
        assert (exchange.route, exchange.error) == ("student", "insufficient_quota")
        assert left(server) == pytest.approx(0.002 - exchange.cost / PICO, abs=1e-12)


def test_nobody_answers_where_both_fail(
    server: Server, upstream: StubUpstream, small: StubUpstream
) -> None:
    small.status = upstream.status = 500
    with pytest.raises(openai.InternalServerError):
        ask(server)
    assert len(small.requests) == len(upstream.requests) == 1


def test_it_stands_in_for_a_teacher_that_is_down(
    server: Server, upstream: StubUpstream, small: StubUpstream
) -> None:
    upstream.status = 500
    answer = ask(server, UNSURE)
    assert answer.headers["x-protege-reason"] == "teacher_down"
    assert answer.headers["x-protege-model"] == MODEL
    small.status = 500
    with pytest.raises(openai.InternalServerError):
        ask(server, UNSURE)


def test_who_insists_on_the_student_gets_no_teacher(
    server: Server, upstream: StubUpstream, small: StubUpstream
) -> None:
    assert ask(server, model="student").headers["x-protege-model"] == MODEL
    small.status = 500
    with pytest.raises(openai.InternalServerError):
        ask(server, model="student")
    assert not upstream.requests


def test_an_answer_without_the_required_format_is_paid_for_and_not_given(
    server: Server, small: StubUpstream
) -> None:
    as_json: Any = {"response_format": {"type": "json_object"}}
    plain = of(server, ask(server))
    answer = ask(server, **as_json)
    assert answer.headers["x-protege-reason"] == "hosted_down"
    teachers = of(server, ask(server, UNSURE))
    assert of(server, answer).cost == plain.cost + teachers.cost
    small.answer = lambda _text: '{"animal": "cat"}'
    assert ask(server, **as_json).headers["x-protege-route"] == "student"
    # Of a stream the caller would have the beginning by then.
    answer = ask(server, stream=True, **as_json)
    assert answer.headers["x-protege-reason"] == "response_format"


def test_an_answer_without_the_required_format_is_paid_for_where_the_teacher_fails(
    server: Server, upstream: StubUpstream, small: StubUpstream
) -> None:
    plain = of(server, ask(server))
    upstream.status = 500
    with pytest.raises(openai.InternalServerError) as caught:
        ask(server, response_format={"type": "json_object"})
    exchange = of(server, caught.value.response)
    assert (exchange.route, exchange.reason, exchange.status) == ("teacher", "hosted_down", 500)
    assert exchange.cost == plain.cost
    assert float(caught.value.response.headers["x-protege-cost"]) == plain.cost / PICO


def test_rules_go_first(server: Server, small: StubUpstream) -> None:
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert ask(server, tools=tools).headers["x-protege-reason"] == "tools"
    assert not small.requests


def test_it_costs_what_a_caller_may_not_want_to_pay(server: Server) -> None:
    for budget, who in ((1, "teacher"), (0.0001, "student")):
        headers: Any = {"x-protege-budget": str(budget)}
        assert ask(server, UNSURE, extra_headers=headers).headers["x-protege-route"] == who
    with pytest.raises(openai.BadRequestError) as caught:
        ask(server, UNSURE, extra_headers={"x-protege-budget": "0.0000001"})
    assert caught.value.code == "budget_exceeded"
    with pytest.raises(openai.BadRequestError):
        ask(server, model="student", extra_headers={"x-protege-budget": "0.0000001"})


def test_the_teacher_does_not_answer_where_it_costs_more_than_the_caller_allows(
    server: Server, upstream: StubUpstream, small: StubUpstream
) -> None:
    plain = of(server, ask(server))
    cheap: Any = {"extra_headers": {"x-protege-budget": "0.0001"}}
    # Paid for all the same.
    with pytest.raises(openai.BadRequestError) as caught:
        ask(server, response_format={"type": "json_object"}, **cheap)
    assert caught.value.code == "budget_exceeded"
    exchange = of(server, caught.value.response)
    assert (exchange.route, exchange.status, exchange.cost) == ("student", 400, plain.cost)
    small.status = 500
    with pytest.raises(openai.BadRequestError) as caught:
        ask(server, **cheap)
    assert caught.value.code == "budget_exceeded"
    assert not upstream.requests


def test_a_model_that_is_not_configured_any_more_answers_nothing(server: Server) -> None:
    answer = ask(server, task="elsewhere")
    assert answer.headers["x-protege-reason"] == "no_student"
    assert sum("no model never-configured is configured" in line for line in server.errors) == 1


@pytest.fixture(scope="module")
def trying(
    shared_upstream: StubUpstream,
    another_upstream: StubUpstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("trying")
    flags = (*teacher_flags(shared_upstream), *configured(folder, another_upstream, share=1.0))
    with Server(folder, *flags) as server:
        yield server


@pytest.fixture
def curious(trying: Server, upstream: StubUpstream, small: StubUpstream) -> Server:
    """A server without students that tries the hosted model on every request."""
    return trying


def tried(server: Server, answer: Any, task: str = OPEN) -> list[tryouts.Tryout]:
    store = server.store()
    identifier = answer.headers["x-request-id"]
    eventually(lambda: identifier in tryouts.made(store.engine, task, MODEL, 0.0), seconds=5)
    found = tryouts.made(store.engine, task, MODEL, 0.0)
    store.close()
    return [tryout for name, tryout in found.items() if name == identifier]


@pytest.mark.parametrize(("text", "agreed"), [(SURE, True), (UNSURE, False)])
@pytest.mark.parametrize("stream", [False, True])
def test_tryouts(curious: Server, text: str, agreed: bool, stream: bool) -> None:
    answer = ask(curious, text, task=OPEN, stream=stream)
    if stream:
        list(answer.parse())
    (tryout,) = tried(curious, answer)
    assert (tryout.agreed, tryout.chance, tryout.extra, tryout.task) == (agreed, 1.0, True, OPEN)
    exchange = of(curious, answer)
    assert exchange.route == "teacher"
    assert 0 < exchange.tryout_cost == tryout.cost < exchange.cost
    assert tryout.latency_s > 0


def test_tryouts_are_paid_for_in_every_account(curious: Server) -> None:
    assert tried(curious, ask(curious, task="paid"), "paid")
    store = curious.store()
    (found,) = [each for each in sums(store.engine, 0, 1e10, ["task"]) if each.group == ("paid",)]
    spent = tryouts.spent(store.engine, 0.0)
    store.close()
    assert 0 < found.tryout_cost <= spent
    assert found.saved == -found.tryout_cost

    def shown() -> bool:
        metrics = httpx.get(f"{curious.url.removesuffix('/v1')}/metrics").text
        cost = f'protege_tryout_cost_usd_total{{task="paid"}} {found.tryout_cost / PICO}'
        count = f'protege_tryouts_total{{model="{MODEL}",task="paid"}} 1.0'
        return cost in metrics and count in metrics

    assert eventually(shown)


def test_what_teaches_nobody_is_not_tried(
    curious: Server, upstream: StubUpstream, small: StubUpstream
) -> None:
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    ask(curious, task=OPEN, store=False)
    ask(curious, task=OPEN, tools=tools)
    upstream.finish_reason = "length"
    ask(curious, task=OPEN)
    upstream.finish_reason = "stop"
    assert tried(curious, ask(curious, task=OPEN))
    assert len(small.requests) == 1


def test_a_tryout_that_fails_harms_nobody(curious: Server, small: StubUpstream) -> None:
    small.status = 500
    failed = ask(curious, task=OPEN)
    assert eventually(lambda: len(small.requests) == 1)
    small.status = 200
    assert tried(curious, ask(curious, task=OPEN))
    assert of(curious, failed).tryout_cost == 0


def test_audits_are_tryouts_that_cost_nothing_more(
    upstream: StubUpstream, small: StubUpstream, data: Path
) -> None:
    store = Store(data)
    promote(store, data)
    flags = (*teacher_flags(upstream), *configured(data, small, share=1.0))
    with Server(data, *flags, PROTEGE_POLICY__AUDIT_RATE="1") as server:
        answer = ask(server)
        (tryout,) = tried(server, answer, TASK)
        exchange = of(server, answer)
        assert (exchange.route, exchange.agreed, exchange.teacher_answer) == (
            "student",
            True,
            "cat",
        )
        assert (tryout.agreed, tryout.chance, tryout.extra) == (True, 1.0, False)
        assert tryout.cost == exchange.cost
        assert (exchange.tryout_cost, len(small.requests)) == (0, 1)
        # It learns to be wrong, and loses its place.
        small.answer = opposite
        assert eventually(lambda: ask(server).headers["x-protege-route"] == "teacher")
    (record,) = store.roster.students(TASK)
    assert "audits disagree" in record.verdict
    store.close()


def test_no_more_is_spent_on_tryouts_than_is_set(
    upstream: StubUpstream, small: StubUpstream, data: Path
) -> None:
    flags = (*teacher_flags(upstream), *configured(data, small, share=1.0, usd_per_day=1e-12))
    with Server(data, *flags) as server:
        assert tried(server, ask(server, task=OPEN))
        for _ in range(3):
            ask(server, task=OPEN)
        assert server.stop() == 0
    assert len(small.requests) == 1
