"""What keys have used up: both kinds of counters against a plain model, and under contention."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from router.keys.counters import SPAN_S, Counted, Counters, CountersLostError, Standing, Sum, Window
from router.keys.failover import Failover
from router.keys.file import FileCounters
from router.keys.redis import RedisCounters
from telemetry.keys import Key
from tests.redis_server import RedisServer

START = 1_800_000_000.0
PERIOD = 1_799_000_000

_T = TypeVar("_T")

KEY = Key("key_00000000000000aa", "app", "sk-protege-...", "", START)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(params=["file", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Counters]:
    """Makes the counters of one more process."""
    if request.param == "file":
        return lambda: FileCounters(tmp_path)
    server: RedisServer = request.getfixturevalue("redis")
    return lambda: RedisCounters(server.url)


class _Machine(RuleBasedStateMachine):
    """Several processes do anything in any order; each answer is what the model says."""

    fresh = iter(range(10**6, 10**9))

    def __init__(self, make: Callable[[], Counters]) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.make = make
        self.processes = [make() for _ in range(2)]
        # Keys of their own, since the counters outlive the example.
        limits: list[dict[str, Any]] = [
            {"requests_per_minute": 3},
            {"budget": 50},
            {"budget": 50, "requests_per_minute": 9, "tokens_per_minute": 20},
        ]
        self.keys = [replace(KEY, id=f"key_{next(self.fresh):016x}", **more) for more in limits]
        self.now = START
        self.period = PERIOD
        self.requests: dict[str, Counter[int]] = defaultdict(Counter)
        self.tokens: dict[str, Counter[int]] = defaultdict(Counter)
        self.spent: dict[str, tuple[int, int]] = {}
        self.settled: list[dict[str, int]] = [{} for _ in self.processes]

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run_until_complete(work)

    @rule(process=st.integers(0, 1), key=st.integers(0, 2))
    def admit(self, process: int, key: int) -> None:
        which = self.keys[key]
        spent = self.known(process, which)
        requests = self.window(self.requests[which.id])
        tokens = self.window(self.tokens[which.id])
        fits = (
            (which.budget is None or (spent is not None and spent < which.budget))
            and (which.requests_per_minute is None or requests.total < which.requests_per_minute)
            and (which.tokens_per_minute is None or tokens.total < which.tokens_per_minute)
        )
        if fits:
            self.requests[which.id][int(self.now)] += 1
            requests = self.window(self.requests[which.id])
        standing = self.run(self.processes[process].admit(which, self.period, self.now))
        assert standing == Standing(fits, requests, tokens, spent)

    @rule(
        process=st.integers(0, 1),
        key=st.integers(0, 2),
        tokens=st.integers(0, 9) | st.just(256),
        cost=st.integers(0, 30),
        late=st.booleans(),
    )
    def spend(self, process: int, key: int, tokens: int, cost: int, late: bool) -> None:
        which = self.keys[key]
        period = self.period - late
        self.run(self.processes[process].spend(which, tokens, cost, period, self.now))
        self.tokens[which.id][int(self.now)] += tokens
        if self.spent.get(which.id, (None, 0))[0] == period:
            self.spent[which.id] = (period, self.spent[which.id][1] + cost)

    @rule(process=st.integers(0, 1), key=st.integers(0, 2), spent=st.integers(0, 60))
    def settle(self, process: int, key: int, spent: int) -> None:
        which = self.keys[key]
        self.run(self.processes[process].settle(which, self.period, spent))
        period, before = self.spent.get(which.id, (None, 0))
        self.spent[which.id] = (self.period, max(before, spent) if period == self.period else spent)
        self.settled[process][which.id] = self.period

    @rule(seconds=st.sampled_from([0.5, 1.0, 1.0, 2.0, 20.0, 59.0, 60.0, 60.0, 61.0, 500.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(process=st.integers(0, 1), what=st.sampled_from(["doubt", "restart", "period", ""]))
    def begin_anew(self, process: int, what: str) -> None:
        if what == "period":
            self.period += 10
        if what == "doubt":
            self.processes[process].doubt()
            self.settled[process].clear()
        if what == "restart":
            self.run(self.processes[process].close())
            self.processes[process] = self.make()
            self.settled[process].clear()

    def known(self, process: int, key: Key) -> int | None:
        period, spent = self.spent.get(key.id, (None, 0))
        settled = self.settled[process].get(key.id) == self.period
        return spent if settled and period == self.period else None

    def window(self, counts: Counter[int]) -> Window:
        recent = {
            second: count
            for second, count in counts.items()
            if count and second > int(self.now) - SPAN_S
        }
        if not recent:
            return Window(0, 0, 0)
        return Window(sum(recent.values()), min(recent), max(recent))

    def teardown(self) -> None:
        for process in self.processes:
            self.run(process.close())
        self.loop.close()


def test_they_count_what_the_model_counts(make: Callable[[], Counters]) -> None:
    run_state_machine_as_test(
        lambda: _Machine(make),  # type: ignore[arg-type]
        settings=settings(max_examples=40, stateful_step_count=60, deadline=None),
    )


async def test_no_minute_has_more_requests_than_the_limit(make: Callable[[], Counters]) -> None:
    key = replace(KEY, id="key_00000000000000ab", requests_per_minute=5)
    counters = make()
    admitted = [
        tenth / 10
        for tenth in range(3000)
        if (await counters.admit(key, PERIOD, START + 0.05 + tenth / 10)).admitted
    ]
    assert len(admitted) == 25
    assert all(later - first > 60 for first, later in zip(admitted, admitted[5:], strict=False))
    await counters.close()


_HAMMER = """
import asyncio, sys
from pathlib import Path
from telemetry.keys import Key

def counters_at(where):
    if where.startswith("redis:"):
        from router.keys import redis
        # However busy the machine is: who loses Redis counts elsewhere, which is another test's.
        redis.TIMEOUT_S = 30
        return redis.RedisCounters(where)
    from router.keys.file import FileCounters
    return FileCounters(Path(where))

async def hammer(where, limit, now):
    counters = counters_at(where)
    key = Key("key_00000000000000ac", "", "", "", now, requests_per_minute=limit)
    print("ready", flush=True)
    sys.stdin.readline()
    admitted = 0
    while (await counters.admit(key, 0, now)).admitted:
        await counters.spend(key, 3, 0, 0, now)
        admitted += 1
    print(admitted)

asyncio.run(hammer(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
"""


def hammers(where: str, limit: int, number: int) -> list[subprocess.Popen[str]]:
    """Processes that make requests with the same key until it is used up."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _HAMMER, where, str(limit), str(START)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return processes


@pytest.mark.parametrize(("kind", "limit"), [("file", 20_000), ("redis", 2_000)])
async def test_processes_together_make_as_many_requests_as_the_limit(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, limit: int
) -> None:
    where = str(tmp_path) if kind == "file" else request.getfixturevalue("redis").url
    counts = [int(process.communicate()[0]) for process in hammers(where, limit, 3)]
    assert sum(counts) == limit
    assert min(counts) > 0
    counters = FileCounters(tmp_path) if kind == "file" else RedisCounters(where)
    key = replace(KEY, id="key_00000000000000ac", requests_per_minute=limit)
    standing = await counters.admit(key, PERIOD, START)
    assert standing.requests.total == limit
    assert standing.tokens.total == 3 * limit
    await counters.close()


async def test_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    victim, survivor = hammers(str(tmp_path), 30_000, 2)
    victim.kill()
    out, _ = victim.communicate()
    assert out == ""
    admitted = int(survivor.communicate()[0])
    counters = FileCounters(tmp_path)
    key = replace(KEY, id="key_00000000000000ac", requests_per_minute=30_000)
    standing = await counters.admit(key, PERIOD, START)
    assert standing.requests.total == 30_000
    assert 0 < admitted <= 30_000
    await counters.close()


async def test_the_file_grows_with_the_keys(tmp_path: Path) -> None:
    first, second = FileCounters(tmp_path), FileCounters(tmp_path)
    keys = [replace(KEY, id=f"key_{number:016x}") for number in range(1, 300)]
    for number, key in enumerate(keys):
        await (first if number % 2 else second).spend(key, number, 0, PERIOD, START)
    for counters in (first, second, FileCounters(tmp_path)):
        for number, key in enumerate(keys):
            standing = await counters.admit(key, PERIOD, START + 1)
            assert standing.tokens.total == number
        await counters.close()


async def test_a_clock_that_is_set_back_holds_nobody_up(make: Callable[[], Counters]) -> None:
    counters = make()
    key = replace(KEY, id="key_00000000000000ba", requests_per_minute=2)
    assert (await counters.admit(key, PERIOD, START)).admitted
    assert (await counters.admit(key, PERIOD, START)).admitted
    # A little behind: another process's clock.
    assert not (await counters.admit(key, PERIOD, START - 2)).admitted
    before = int(START) - 3600
    assert (await counters.admit(key, PERIOD, before)).requests == Window(1, before, before)
    await counters.close()


# Failover


class _Breakable:
    """Counters that can be lost."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.lost = False
        self.calls = 0

    async def _reach(self) -> None:
        self.calls += 1
        if self.lost:
            raise CountersLostError("the cable was pulled")

    async def admit(self, counted: Counted, period: int, now: float) -> Standing:
        await self._reach()
        return await self.counters.admit(counted, period, now)

    async def spend(self, counted: Counted, tokens: int, cost: int, period: int, now: float) -> Sum:
        await self._reach()
        return await self.counters.spend(counted, tokens, cost, period, now)

    async def take_back(self, counted: Counted, cost: int, period: int, from_: Sum) -> None:
        await self._reach()
        await self.counters.take_back(counted, cost, period, from_)

    async def settle(self, counted: Counted, period: int, spent: int) -> None:
        await self._reach()
        await self.counters.settle(counted, period, spent)

    def doubt(self) -> None:
        self.counters.doubt()

    async def close(self) -> None:
        await self.counters.close()


async def test_without_the_shared_counters_the_local_ones_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shared").mkdir()
    shared = _Breakable(FileCounters(tmp_path / "shared"))
    counters = Failover(shared, FileCounters(tmp_path))
    clock = 0.0
    monkeypatch.setattr("router.keys.failover.time.monotonic", lambda: clock)
    key = replace(KEY, budget=10)
    await counters.settle(key, PERIOD, 3)
    assert (await counters.admit(key, PERIOD, START)).spent == 3

    shared.lost = True
    # The local ones know nothing: the store has to be asked, for them too.
    assert (await counters.admit(key, PERIOD, START)).spent is None
    await counters.settle(key, PERIOD, 4)
    await counters.spend(key, 1, 2, PERIOD, START)
    standing = await counters.admit(key, PERIOD, START)
    assert standing.admitted
    assert standing.spent == 6
    # Nobody waits for what is down, but for one call a second.
    calls = shared.calls
    await counters.admit(key, PERIOD, START)
    assert shared.calls == calls
    clock += 1.0
    await counters.admit(key, PERIOD, START)
    assert shared.calls == calls + 1

    shared.lost = False
    clock += 1.0
    # What was spent meanwhile is in the store alone.
    assert (await counters.admit(key, PERIOD, START)).spent is None
    await counters.settle(key, PERIOD, 6)
    assert (await counters.admit(key, PERIOD, START)).spent == 6
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "Redis is down, each machine counts limits on its own",
        "Redis is back",
    ]
    await counters.close()


async def test_a_cost_is_taken_back_from_the_sum_that_has_it_alone(
    make: Callable[[], Counters],
) -> None:
    counters, another = make(), make()
    key = replace(KEY, id="key_00000000000000ca", budget=100)

    async def spent() -> int | None:
        return (await counters.admit(replace(key, budget=0), PERIOD, START)).spent

    await counters.settle(key, PERIOD, 10)
    held = await counters.spend(key, 0, 7, PERIOD, START)
    assert await counters.spend(key, 0, 7, PERIOD - 1, START) == ""
    # Whoever settles knows less than is counted.
    await another.settle(key, PERIOD, 3)
    assert await spent() == 17
    await another.take_back(key, 7, PERIOD, held)
    assert await spent() == 10
    held = await counters.spend(key, 0, 7, PERIOD, START)
    # Who knows more begins anew, and has not what is held.
    await another.settle(key, PERIOD, 40)
    await counters.take_back(key, 7, PERIOD, held)
    await counters.take_back(key, 7, PERIOD, "")
    assert await spent() == 40
    await another.settle(key, PERIOD + 1, 2)
    await counters.take_back(key, 7, PERIOD, held)
    await another.settle(key, PERIOD, 2)
    await counters.take_back(key, 7, PERIOD, held)
    assert await spent() == 2
    await counters.close()
    await another.close()


async def test_what_the_shared_counters_hold_is_not_taken_off_the_local_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    shared = _Breakable(FileCounters(tmp_path / "shared"))
    counters = Failover(shared, FileCounters(tmp_path))
    clock = 0.0
    monkeypatch.setattr("router.keys.failover.time.monotonic", lambda: clock)
    key = replace(KEY, budget=100)

    async def spent() -> int | None:
        return (await counters.admit(replace(key, budget=0), PERIOD, START)).spent

    await counters.settle(key, PERIOD, 0)
    held_there = await counters.spend(key, 0, 7, PERIOD, START)
    shared.lost = True
    assert await spent() is None
    await counters.settle(key, PERIOD, 0)
    held_here = await counters.spend(key, 0, 5, PERIOD, START)
    await counters.take_back(key, 7, PERIOD, held_there)
    assert await spent() == 5
    shared.lost = False
    clock += 1.0
    assert await spent() is None
    await counters.settle(key, PERIOD, 0)
    await counters.take_back(key, 5, PERIOD, held_here)
    assert await spent() == 7
    await counters.take_back(key, 7, PERIOD, held_there)
    assert await spent() == 0
    await counters.close()
