"""How far the product's training runs are behind."""

import json
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import LoopSettings
from distill import schedule
from router.demo.lag import TrainingRun, lags_s, mean_lag_s
from telemetry.exchange import StudentRecord, TaskState
from telemetry.store import Store
from tests.distill import synthetic

LOOP = LoopSettings(first=10, growth=1.5)


def run(started: float, finished: float, since: float = 0.0) -> TrainingRun:
    return TrainingRun(since, started, finished)


def test_a_run_falls_due_by_the_answers_that_the_one_before_it_saw():
    answered = [float(second) for second in range(1, 101)]
    # Due with answer 10; sees 12, so that the next is due with 18; sees 20, so the next with 30.
    runs = [run(12.5, 15.0), run(20.5, 21.0), run(30.0, 37.0)]
    assert lags_s(runs, answered, LOOP) == [5.0, 3.0, 7.0]


def test_a_run_that_the_timer_started_has_no_lag():
    answered = [float(second) for second in range(1, 101)]
    runs = [run(10.0, 11.0), run(14.0, 19.0), run(21.0, 23.0)]
    assert lags_s(runs, answered, LOOP) == [1.0, 2.0]
    # One that saw 5 answers brings the first due time no nearer.
    assert lags_s([run(5.0, 6.0), run(11.0, 12.0)], answered, LOOP) == [2.0]


seconds = st.integers(1, 60)


@given(
    gaps=st.lists(st.integers(0, 20), min_size=60, max_size=200),
    delays=st.lists(st.tuples(seconds, seconds), min_size=2, max_size=9),
    loop=st.builds(LoopSettings, first=st.integers(10, 40), growth=st.floats(1.05, 3)),
)
def test_it_finds_the_lags_of_runs_at_the_products_schedule(gaps, delays, loop):
    """``delays``: how long each run waits once it is due and the one before is done, and takes."""
    answered = list(accumulate(gaps, initial=0))
    runs, lags = [], []
    seen, free_at = 0, 0
    for wait, takes in delays:
        counts = range(len(answered) + 1)
        due = (n for n in counts if schedule.due({"t": n}, {"t": state(seen)}, 0, loop, {}, {}))
        enough = next(due, None)
        if enough is None:
            break
        due_at = answered[enough - 1]
        started = max(due_at, free_at) + wait
        free_at = started + takes
        seen = sum(at <= started for at in answered)
        runs.append(run(started, free_at))
        lags.append(free_at - due_at)
    assert lags_s(runs, answered, loop) == lags


def state(seen: int) -> TaskState:
    return TaskState("t", trained_on=seen)


def record(version: str, finished: float, training_s: float, since: float = 0.0) -> StudentRecord:
    card = {"data": {"since": since}, "training_s": training_s}
    return StudentRecord(version, "support", finished, "", True, "promoted", json.dumps(card))


@pytest.fixture
def store(tmp_path):
    """Forty answers, one a second from Unix time 1000 on, each of which took two seconds."""
    opened = Store(tmp_path)
    pairs = synthetic.stream(40)
    opened.write([synthetic.exchange(n, *pair, latency_s=2.0) for n, pair in enumerate(pairs)])
    yield opened
    opened.close()


def close(store: Store, *records: StudentRecord, epoch: float = 0.0) -> None:
    for each in records:
        assert store.roster.close_run(TaskState("support", epoch=epoch), each)


def test_the_mean_is_over_the_runs_in_the_store(store, tmp_path):
    # Answer 10 came at 1011; the first run saw 12, and answer 18 came at 1019.
    close(store, record("a", 1015.0, 1.5), record("b", 1029.0, 2.0))
    assert mean_lag_s(tmp_path, LOOP) == pytest.approx((4.0 + 10.0) / 2)


def test_a_demoted_task_counts_afresh(store, tmp_path):
    close(store, record("a", 1015.0, 1.5))
    assert store.roster.demote("support", "a", "broke the promise", 1020.0)
    # Answers to requests from 1020 on: the tenth of them came at 1031.
    close(store, record("b", 1037.0, 1.0, since=1020.0), epoch=1020.0)
    assert mean_lag_s(tmp_path, LOOP) == pytest.approx((4.0 + 6.0) / 2)


def test_answers_that_cannot_be_learnt_from_do_not_count(store, tmp_path):
    cut_off = [
        synthetic.exchange(n, "text", "outage", id=f"cut-{n}", finish_reason="length")
        for n in range(9)
    ]
    store.write(cut_off)
    close(store, record("a", 1015.0, 1.5))
    assert mean_lag_s(tmp_path, LOOP) == pytest.approx(4.0)


def test_without_a_run_there_is_no_lag(store, tmp_path):
    assert mean_lag_s(tmp_path, LOOP) is None
    # One that the timer started is none that fell due.
    close(store, record("a", 1005.0, 1.0))
    assert mean_lag_s(tmp_path, LOOP) is None
