"""Budgets: what is held is never more than what is left, whoever counts."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from config.settings import BudgetSettings, PolicySettings, Settings
from policies.pacing import SLOT_S
from router.conversations import Conversations
from router.errors import StoreUnavailableError
from router.keys.file import FileCounters
from router.keys.redis import RedisCounters
from router.process import Process as Server
from router.request import parse
from router.spending.budgets import DEARER, Account, Budgets
from router.terms import UNSAID
from router.turn import Arrival
from telemetry.spending import Payer
from telemetry.store import Store
from tests.redis_server import RedisServer
from tests.telemetry.test_store import exchange

USD = 1e-9
TOTAL = 1000
"""Picodollars of the budget below."""


class Process:
    """One of the processes that share a budget."""

    def __init__(self, store: Store, folder: Path, payer: Payer = Payer()) -> None:  # noqa: B008
        self.budgets = Budgets(store, FileCounters(folder))
        self.account: Account = self.budgets.open(BudgetSettings(usd=USD), payer)

    async def hold(self, name: str, expected: int) -> bool:
        return await self.budgets.hold_answer(self.account, name, expected)

    async def spend(self, name: str, cost: int, task: str = "t") -> None:
        await self.budgets.spend(exchange(name, created=time.time(), cost=cost, task=task))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store(tmp_path_factory.mktemp("budgets"))
    yield opened
    opened.close()


# Which process, what its answer is expected to cost, what share of what is held it does cost, and
# how many other requests come before it ends.
calls = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 300), st.floats(0, 1), st.integers(0, 4)),
    max_size=60,
)


@settings(max_examples=60)
@given(calls)
def test_no_order_of_events_exceeds_a_budget(
    store: Store, requests: list[tuple[int, int, float, int]]
) -> None:
    async def play() -> int:
        with tempfile.TemporaryDirectory() as folder:
            processes = [Process(store, Path(folder)) for _ in range(2)]
            spent = 0
            under_way: list[tuple[int, Process, str, int]] = []
            for number, (which, expected, part, lasts) in enumerate(requests):
                process, name = processes[which], str(number)
                if await process.hold(name, expected):
                    cost = int(part * DEARER * expected)
                    under_way.append((number + lasts, process, name, cost))
                for ending in [one for one in under_way if one[0] <= number]:
                    under_way.remove(ending)
                    _, owner, ended, cost = ending
                    await owner.spend(ended, cost)
                    spent += cost
            return spent + sum(cost for *_, cost in under_way)

    assert asyncio.run(play()) <= TOTAL


async def test_what_was_not_needed_is_given_back(store: Store, tmp_path: Path) -> None:
    process = Process(store, tmp_path)
    for number in range(100):
        assert await process.hold(str(number), 400)
        assert not await process.hold("another", 400)
        await process.spend(str(number), 0)


async def test_what_nobody_answers_is_given_back(store: Store, tmp_path: Path) -> None:
    process = Process(store, tmp_path)
    turn: Any = SimpleNamespace(arrival=Arrival(None))
    for _ in range(100):
        assert await process.hold(turn.arrival.id, 400)
        await process.budgets.give_back_answer(turn)
    # It is over once, however often that is said.
    await process.budgets.give_back_answer(turn)
    assert await process.budgets.left(process.account, time.time()) == TOTAL


async def test_what_is_held_after_the_end_of_the_period_that_a_request_came_in_is_given_back(
    store: Store, tmp_path: Path
) -> None:
    process = Process(store, tmp_path)
    before = process.account.start(time.time()) - 0.5
    turn: Any = SimpleNamespace(arrival=Arrival(None, created=before), task="t")
    for _ in range(10):
        assert await process.hold("a", 400)
        await process.budgets.spend(exchange("a", created=before, cost=300, task="t"))
        assert await process.hold(turn.arrival.id, 400)
        await process.budgets.give_back_answer(turn)
        assert await process.budgets.hold_audit(process.account, turn.arrival.id, 400)
        await process.budgets.spend_audit(turn, 300)
    # What it has cost belongs to the period that it came in.
    assert await process.budgets.left(process.account, time.time()) == TOTAL


async def test_nothing_is_held_for_a_route_that_could_not_be_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = PolicySettings(name="budget", budget=BudgetSettings(usd=1))
    routing = Server(Settings(data=tmp_path, policy=policy)).engine.routing
    budgets = routing.paying.budgets
    monkeypatch.setattr(Conversations, "keep", Mock(side_effect=BufferError))
    body = {"model": "auto", "messages": [{"role": "user", "content": "a cat"}]}
    with pytest.raises(BufferError):
        await routing.choose(Arrival(None), parse(body, b"{}", UNSAID), None)
    (account,) = budgets.accounts()
    assert await budgets.left(account, time.time()) == account.budget


async def test_nothing_is_held_where_nobody_knows_what_is_left(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(store, tmp_path)
    spent, asked = process.budgets._spent, count()

    async def failing(account: Account, now: float) -> int:
        if next(asked):
            raise StoreUnavailableError("What has been spent cannot be read.")
        return await spent(account, now)

    with monkeypatch.context() as patched:
        patched.setattr(process.budgets, "_spent", failing)
        with pytest.raises(StoreUnavailableError):
            await process.hold("a", 400)
    assert await process.budgets.left(process.account, time.time()) == TOTAL


async def test_an_answer_that_is_dearer_makes_the_next_one_hold_more(
    store: Store, tmp_path: Path
) -> None:
    process = Process(store, tmp_path)
    assert await process.hold("a", 10)
    await process.spend("a", 50)
    assert process.account.dearer == 5
    assert not await process.hold("b", 200)
    assert await process.hold("c", 190)


async def test_a_budget_is_for_its_payer(store: Store, tmp_path: Path) -> None:
    process = Process(store, tmp_path, Payer(task="t"))
    assert await process.hold("a", 0)
    await process.spend("b", 900, task="other")
    assert await process.hold("c", 500)
    await process.spend("c", 1000)
    assert not await process.hold("d", 1)


def test_a_budget_has_the_place_in_the_counters_that_it_had_before_an_update() -> None:
    settings = BudgetSettings(usd=USD)
    assert Account(settings, Payer()).id == "key_32199b5102c94077"
    assert Account(settings, Payer(task="t")).id == "key_64cd968adf7b9735"


async def test_what_the_store_knows_is_spent(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write([exchange("before", created=time.time(), cost=900)])
    process = Process(store, tmp_path)
    assert not await process.hold("a", 60)
    assert await process.hold("b", 40)
    await process.budgets.pace(process.account)
    assert 0 <= process.account.policy.share <= 1
    store.close()


async def test_a_request_that_comes_before_the_first_look_does_not_hide_the_days_before(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    now = time.time()
    slots = range(1, 7 * 96)
    store.write([exchange(f"{n}", created=now - n * SLOT_S, teacher_cost=100) for n in slots])
    early, late = Process(store, tmp_path), Process(store, tmp_path)
    await early.budgets.pace(early.account)
    for process in (early, late):
        await process.budgets._look()
    start = now // 86400 * 86400
    coming = [each.account.demand.forecast(start, start + 2 * 86400, now) for each in (early, late)]
    assert coming[0] == coming[1] > 0
    store.close()


async def test_a_clock_that_is_set_back_leaves_pacing_what_it_goes_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    clock = SimpleNamespace(time=lambda: now + 86400, monotonic=lambda: 0.0)
    monkeypatch.setattr("router.spending.budgets.time", clock)
    store = Store(tmp_path)
    process = Process(store, tmp_path)
    budgets, account = process.budgets, process.account
    await budgets._look()
    await budgets.pace(account)
    assert account.policy.share == 1.0

    clock.time, clock.monotonic = lambda: now, lambda: 2.0
    assert await process.hold("all", int(TOTAL / DEARER))
    store.write([exchange("a", created=now, teacher_cost=TOTAL)])
    await budgets._look()
    await budgets.pace(account)
    assert account.policy.share == 0.0
    assert account.demand.forecast(account.start(now), account.end(now), now) > 0
    store.close()


async def test_what_redis_has_forgotten_is_not_given_back(store: Store, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    counters = RedisCounters(server.url)
    budgets = Budgets(store, counters)
    account = budgets.open(BudgetSettings(usd=USD), Payer())
    turn: Any = SimpleNamespace(arrival=Arrival(None))
    assert await budgets.hold_answer(account, turn.arrival.id, 400)
    async with Redis.from_url(server.url) as redis:
        await redis.flushall()
    assert await budgets.left(account, time.time()) == TOTAL
    await budgets.give_back_answer(turn)
    assert await budgets.left(account, time.time()) == TOTAL
    assert await budgets.hold_answer(account, turn.arrival.id, 400)
    await budgets.give_back_answer(turn)
    assert await budgets.left(account, time.time()) == TOTAL
    await counters.close()
    server.stop()
