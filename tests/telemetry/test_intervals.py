"""Intervals of shares."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from telemetry.intervals import LEVEL, wilson


@given(st.integers(0, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_has_the_share_in_it(counted: tuple[int, int]) -> None:
    hits, trials = counted
    low, high = wilson(hits, trials)
    assert 0 <= low < high <= 1
    assert not trials or low <= hits / trials <= high


def test_intervals_hold_the_true_share_about_as_often_as_they_say() -> None:
    rng = random.Random(7)
    runs, held = 2000, 0
    for _ in range(runs):
        low, high = wilson(sum(rng.random() < 0.95 for _ in range(200)), 200)
        held += low <= 0.95 <= high
    assert abs(held / runs - LEVEL) < 0.03


def test_more_evidence_is_a_narrower_interval() -> None:
    few, many = wilson(19, 20), wilson(1900, 2000)
    assert many[1] - many[0] < few[1] - few[0]
    assert wilson(0, 0) == (0.0, 1.0)
