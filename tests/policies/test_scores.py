"""What routes are expected to cost and to take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.scores import RunningMean, Scores
from telemetry.prices import Price, Usage

PRICE = Price(input=10, output=100, cached_input=1)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_a_young_mean_is_the_plain_mean(values: list[float]) -> None:
    mean = RunningMean(initial=123.0)
    for value in values:
        mean.add(value)
    assert mean.value == pytest.approx(sum(values) / len(values), abs=1e-3)


def test_an_old_mean_follows_what_changes() -> None:
    mean = RunningMean(initial=0.0)
    for _ in range(1000):
        mean.add(1.0)
    for _ in range(100):
        mean.add(5.0)
    assert mean.value == pytest.approx(5.0, abs=0.05)


def test_costs_are_learnt_by_task() -> None:
    scores = Scores()
    for _ in range(10):
        scores.saw_usage("short", 100, Usage(prompt_tokens=50, completion_tokens=1))
        scores.saw_usage("long", 100, Usage(prompt_tokens=20, completion_tokens=300))
    assert scores.expected_usage("short", 200) == Usage(100, 1)
    assert scores.teacher("short", 200, PRICE).cost == 100 * 10 + 1 * 100
    assert scores.expected_usage("long", 100) == Usage(20, 300)
    # Of an unknown task only the usual is known.
    assert scores.expected_usage("new", 400).prompt_tokens == 100
    assert scores.expected_usage("short", 200, answer="ab" * 10) == Usage(100, 10)


def test_latency_is_learnt_by_route() -> None:
    scores = Scores()
    scores.saw_latency("teacher", 2.0)
    scores.saw_latency("student", 0.002)
    assert scores.teacher("any", 100, PRICE).latency_s == 2.0
    student = scores.student(0.9)
    assert (student.latency_s, student.cost, student.agreement) == (0.002, 0, 0.9)


def test_tasks_that_are_not_seen_any_more_are_forgotten() -> None:
    scores = Scores(capacity=2)
    for task in ("a", "b", "a", "c"):
        scores.saw_usage(task, 100, Usage(prompt_tokens=77, completion_tokens=7))
    known = {task: scores.expected_usage(task, 100).prompt_tokens == 77 for task in "abc"}
    assert known == {"a": True, "b": False, "c": True}
