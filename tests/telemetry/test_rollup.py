"""Sums that are kept are those of the exchanges, whatever comes late and whoever sums up."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, event, select

from telemetry.exchange import Exchange
from telemetry.figures import Dimension, sums
from telemetry.rollup import roll_up
from telemetry.schema import daily_sums, exchanges, hourly_sums, rolled_up
from telemetry.store import Audit, Store
from telemetry.tryouts import Tryout
from tests.telemetry.test_figures import as_dict, by_hand, rows
from tests.telemetry.test_store import exchange

DAY_S = 86400.0
HOUR_S = 3600.0
START = 20_000 * DAY_S
ALL: tuple[Dimension, ...] = ("hour", "task", "route", "model", "key")

# What happens, and seconds: of delay between a request and its record, or that pass.
writes = st.tuples(
    st.just("write"), rows, st.sampled_from([0.0, 1.0, 599.0, 601.0, 2 * HOUR_S, 30 * HOUR_S])
)
audits = st.tuples(st.just("audit"), st.integers(0, 99), st.booleans())
tries = st.tuples(st.just("try"), st.integers(0, 99), st.booleans())
rolls = st.tuples(st.just("roll"), st.none(), st.none())
passes = st.tuples(
    st.just("pass"), st.sampled_from([1.0, HOUR_S / 2, HOUR_S, 25 * HOUR_S]), st.none()
)


@contextmanager
def at(now: float) -> Iterator[None]:
    """Writes to the store believe that it is Unix time ``now``."""
    clock = SimpleNamespace(time=lambda: now, monotonic=time.monotonic, sleep=time.sleep)
    with mock.patch("telemetry.store.time", clock):
        yield


def empty(store: Store) -> None:
    with store.engine.begin() as connection:
        for table in (exchanges, hourly_sums, daily_sums, rolled_up):
            connection.execute(delete(table))


def stored(store: Store) -> list[Exchange]:
    with store.engine.connect() as connection:
        return [Exchange(**row._mapping) for row in connection.execute(select(exchanges))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(steps=st.lists(writes | audits | tries | rolls | passes, min_size=5, max_size=15))
def test_sums_are_exact_whatever_happens_in_whatever_order(store: Store, steps: list[Any]) -> None:
    empty(store)
    now, written = START, 0
    for what, one, other in steps:
        if what == "write":
            row = exchange(str(written), **{**one, "created": now - other})
            with at(now):
                # Whoever does not know what became of it writes it again.
                for _ in range(1 + written % 2):
                    store.write([row])
            written += 1
        elif what == "audit" and written:
            with at(now):
                store.write([], [Audit(str(one % written), None, other, audit_cost=one)])
        elif what == "try" and written:
            tried = Tryout(str(one % written), "m", now, "a", True, 1.0, one, other, 0.1)
            with at(now):
                store.write([], [], [tried])
        elif what == "roll":
            roll_up(store.engine, now)
        elif what == "pass":
            now += one
    made = stored(store)
    for by in (ALL, ("day", "key"), ("day", "model"), ()):
        # At borders of hours and days, and within them.
        for since, until in ((0.0, 1e10), (START - 1e5, now - 7.5), (START, START + DAY_S)):
            within = [row for row in made if since <= row.created < until]
            assert as_dict(sums(store.engine, since, until, by)) == by_hand(within, by)


def test_what_is_summed_up_is_not_read_again(store: Store) -> None:
    store.write([exchange(str(hour), created=START + hour * HOUR_S, cost=1) for hour in range(60)])
    roll_up(store.engine, START + 58.5 * HOUR_S)
    with store.engine.begin() as connection:
        connection.execute(delete(exchanges))
    # Hours that have ended more than an hour ago.
    assert [each.cost for each in sums(store.engine, 0, 1e10)] == [57]
    by_day = {each.group: each.cost for each in sums(store.engine, 0, 1e10, ["day"])}
    assert list(by_day.values()) == [24, 24, 9]


def test_most_days_are_read_as_days(store: Store) -> None:
    store.write([exchange(str(hour), created=START + hour * HOUR_S) for hour in range(72)])
    roll_up(store.engine, START + 4 * DAY_S)
    with store.engine.begin() as connection:
        connection.execute(delete(hourly_sums).where(hourly_sums.c.hour >= (START + DAY_S) // 3600))
    (found,) = sums(store.engine, START + HOUR_S, START + 3 * DAY_S)
    assert found.requests == 23 + 48


@pytest.mark.parametrize("ahead", [2 * HOUR_S, 30 * HOUR_S])
def test_a_clock_that_is_set_back_leaves_nothing_out(store: Store, ahead: float) -> None:
    def is_exact(now: float) -> bool:
        within = ((0.0, 1e10), (START - 1e5, now - 7.5), (START, START + DAY_S))
        for by in (ALL, ("day", "key"), ()):
            for since, until in within:
                made = [row for row in stored(store) if since <= row.created < until]
                if as_dict(sums(store.engine, since, until, by)) != by_hand(made, by):
                    return False
        return True

    now = START + 5 * HOUR_S + 60
    before = [exchange(f"b{hour}", created=START + hour * HOUR_S, cost=3) for hour in range(6)]
    store.write(before)
    wrong = now + ahead
    with at(wrong):
        store.write([exchange("wrong", created=wrong - 2, cost=5)])
    roll_up(store.engine, wrong)
    with at(now):
        # Of before the full hour, and of after it.
        store.write([exchange("c", created=now - 90, cost=7), exchange("d", created=now, cost=11)])
        store.write([], [Audit("d", None, True, audit_cost=13)])
    roll_up(store.engine, now + 60)
    assert is_exact(now + 60)
    for later in (HOUR_S, 26 * HOUR_S, 60 * HOUR_S):
        roll_up(store.engine, now + later)
        assert is_exact(now + later)


def test_a_timely_record_needs_no_look_at_the_sums(store: Store) -> None:
    statements: list[str] = []
    event.listen(
        store.engine, "before_cursor_execute", lambda *told: statements.append(str(told[2]))
    )
    with at(START):
        store.write([exchange("e", created=START - 500)], [])
    assert len(statements) == 1
    with at(START):
        store.write([], [Audit("e", None, True, 1)])
    assert not any("rolled_up" in statement for statement in statements)


def test_processes_that_write_and_sum_up_at_once(store: Store) -> None:
    """Four write, late and in time, and audit; two sum up all the while."""
    now = time.time()
    done = threading.Event()
    failures: list[BaseException] = []

    def write(writer: int) -> None:
        rng = random.Random(writer)
        for number in range(10):
            age = rng.choice([0.0, 0.0, 1e4, 1e5, 3e5]) * rng.random()
            row = exchange(f"{writer}-{number}", created=now - age, cost=rng.randrange(10**9))
            store.write([dataclasses.replace(row, route="student", task=rng.choice("ab"))])
            audited = f"{writer}-{rng.randrange(number + 1)}"
            store.write([], [Audit(audited, None, rng.random() < 0.5, rng.randrange(10**9))])

    def sum_up() -> None:
        while not done.is_set():
            roll_up(store.engine, now)

    def noting(work: Any, *arguments: Any) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    summing = [noting(sum_up) for _ in range(2)]
    for thread in [noting(write, writer) for writer in range(4)]:
        thread.join()
    done.set()
    for thread in summing:
        thread.join()
    assert not failures
    assert as_dict(sums(store.engine, 0, now + 1, ALL)) == by_hand(stored(store), ALL)
    roll_up(store.engine, now)
    assert as_dict(sums(store.engine, 0, now + 1, ALL)) == by_hand(stored(store), ALL)


@pytest.mark.parametrize("settled", [0.0, HOUR_S])
def test_an_empty_store(store: Store, settled: float) -> None:
    roll_up(store.engine, START + settled)
    roll_up(store.engine, START + settled)
    assert sums(store.engine, 0, 1e10) == []
