"""The teacher, asked again for answers of its own."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from config.settings import BudgetSettings
from distill.data.dataset import build
from distill.data.suspects import suspects
from router.students import repeats
from router.turn import Arrival
from telemetry.exchange import Exchange
from telemetry.spending import Payer
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually
from tests.router.test_ledger import opened
from tests.router.upstream import StubUpstream

COST = 220_000_000
"""Picodollars of each of the stub's answers."""


@pytest.fixture(scope="module")
def running(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    environment = {
        "PROTEGE_LOOP__ENABLED": "false",
        "PROTEGE_DATASET__REPEATS": "1",
        "PROTEGE_TEACHER__RETRIES": "0",
        "PROTEGE_TEACHER__BREAKER_FAILURES": "1000000",
    }
    data = tmp_path_factory.mktemp("repeats")
    with Server(data, *teacher_flags(shared_upstream), **environment) as server:
        yield server


@pytest.fixture
def server(running: Server, upstream: StubUpstream) -> Server:
    return running


def saying(*answers: str) -> Callable[[str], str]:
    """A teacher that says one after the other, and the last one from then on."""
    places = count()
    return lambda _text: answers[min(next(places), len(answers) - 1)]


def ask(server: Server, **more: Any) -> str:
    wanted: Any = {"model": "auto", "messages": [{"role": "user", "content": "cat"}]}
    wanted |= {"metadata": {"task": "again"}, **more}
    answer = server.client().chat.completions.with_raw_response.create(**wanted)
    answer.parse() if not more.get("stream") else list(answer.parse())
    return answer.headers["x-request-id"]


def repeated(server: Server, identifier: str) -> Exchange:
    """The exchange, once all that was said again is in the store."""
    assert eventually(lambda: server.exchange(identifier).audit_cost > 0)
    return server.exchange(identifier)


@pytest.mark.parametrize("stream", [False, True])
def test_a_teacher_that_agrees_with_itself_is_asked_once_more(
    server: Server, upstream: StubUpstream, stream: bool
) -> None:
    exchange = repeated(server, ask(server, stream=stream))
    assert exchange.repeats == '["cat"]'
    assert (exchange.teacher_answer, exchange.agreed) == ("cat", None)
    assert exchange.audit_cost == COST
    assert len(upstream.requests) == 2


def test_of_two_answers_a_third_tells(server: Server, upstream: StubUpstream) -> None:
    upstream.answer = saying("cat", "dog", "dog")
    exchange = repeated(server, ask(server))
    assert (exchange.answer, len(upstream.requests)) == ("cat", 3)
    assert json.loads(exchange.repeats or "") == ["dog", "dog"]
    assert exchange.audit_cost == 2 * COST
    (suspect,) = suspects(build([exchange]), ["cat", "dog"], np.array([[0.5, 0.5]]))
    assert (suspect.doubt, suspect.suggestion) == ("inconsistent", "dog")


def test_what_it_costs_is_counted_with_audits(server: Server) -> None:
    def spent() -> float:
        text = httpx.get(server.url.replace("/v1", "/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith("protege_audit_cost_usd")]
        return sum(float(line.split()[-1]) for line in lines)

    before = spent()
    repeated(server, ask(server))
    assert eventually(lambda: spent() == pytest.approx(before + COST / 1e12))


@pytest.mark.parametrize(
    "more",
    [
        {"store": False},
        {"model": "teacher"},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    ],
)
def test_what_teaches_nobody_is_not_asked_again(
    server: Server, upstream: StubUpstream, more: dict[str, Any]
) -> None:
    identifier = ask(server, **more)
    # What is asked later is asked again, so that this would have been by now.
    repeated(server, ask(server))
    assert len(upstream.requests) == 3
    assert server.exchange(identifier).audit_cost == 0


def test_a_teacher_that_fails_then_is_left_alone(server: Server, upstream: StubUpstream) -> None:
    def once(_text: str) -> str:
        upstream.status = 500
        return "cat"

    upstream.answer = once
    identifier = ask(server)
    assert eventually(lambda: len(upstream.requests) == 2)
    upstream.reset()
    repeated(server, ask(server))
    exchange = server.exchange(identifier)
    assert (exchange.repeats, exchange.audit_cost, exchange.answer) == (None, 0, "cat")


def test_what_was_said_again_is_forgotten_with_the_rest(server: Server) -> None:
    identifier = ask(server)
    repeated(server, identifier)
    store = server.store()
    store.forget(identifier)
    store.close()
    assert server.exchange(identifier).repeats is None


async def test_what_a_repeat_holds_is_given_back_where_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_of: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(repeats, "ask_beside", hang)
    monkeypatch.setattr(repeats, "FINISH_S", 0.05)
    store, ledger = opened(tmp_path)
    account = ledger.budgets.open(BudgetSettings(usd=1), Payer())
    asked = repeats.Repeats((), 1.0, ledger)
    request = SimpleNamespace(store=True, body={"messages": []})
    turn: Any = SimpleNamespace(
        arrival=Arrival(None), request=request, route="teacher", decision=True, account=account
    )
    asked.start(turn, "cat", 400)
    await asyncio.sleep(0.02)
    assert await ledger.budgets.left(account, time.time()) < account.budget
    await asked.finish()
    await asyncio.sleep(0.02)
    assert await ledger.budgets.left(account, time.time()) == account.budget
    await ledger.writer.close()
    store.close()


async def test_a_repeat_is_left_out_where_nobody_knows_what_can_be_paid(tmp_path: Path) -> None:
    unheeded: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: unheeded.append(told))
    store, ledger = opened(tmp_path)
    account = ledger.budgets.open(BudgetSettings(usd=1), Payer())
    with store.engine.begin() as connection:
        connection.exec_driver_sql("drop table exchanges")
    asked = repeats.Repeats((), 1.0, ledger)
    request = SimpleNamespace(store=True, body={"messages": []}, prompt=SimpleNamespace(task="t"))
    turn: Any = SimpleNamespace(
        arrival=Arrival(None),
        request=request,
        route="teacher",
        decision=True,
        account=account,
        task="t",
    )
    asked.start(turn, "cat", 400)
    await asked.finish()
    gc.collect()
    await asyncio.sleep(0)
    assert not unheeded
    await ledger.writer.close()
    store.close()
