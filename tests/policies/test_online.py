"""What is learnt from a stream."""

from __future__ import annotations

from math import exp, isfinite, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.online import Line, Quantile, Quantity, RunningMean


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_a_young_mean_is_the_plain_mean(values: list[float]) -> None:
    mean = RunningMean(initial=123.0)
    for value in values:
        mean.add(value)
    assert mean.value == pytest.approx(sum(values) / len(values), abs=1e-3)


def test_an_old_mean_follows_what_changes() -> None:
    mean = RunningMean(initial=0.0)
    for _ in range(1000):
        mean.add(1.0)
    for _ in range(250):
        mean.add(5.0)
    assert mean.value == pytest.approx(5.0, abs=0.05)


@given(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 1000))
def test_a_line_is_found(base: float, slope: float, seed: int) -> None:
    rng = Random(seed)
    line = Line(0.0, 0.0)
    for _ in range(1000):
        x = rng.uniform(-2, 2)
        line.add(x, base + slope * x)
    assert line(1.5) == pytest.approx(base + 1.5 * slope, abs=0.15)


@given(st.floats(-5, 5), st.floats(-3, 3), st.floats(-5, 5))
def test_a_feature_that_does_not_vary_leaves_the_slope_alone(
    y: float, slope: float, x: float
) -> None:
    line = Line(0.0, slope)
    for _ in range(10):
        line.add(x, y)
    assert line(x) == pytest.approx(y)
    assert line(x + 1) == pytest.approx(y + slope)


@given(
    st.sampled_from([0.5, 0.95]),
    st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=10), min_size=1, max_size=10),
)
def test_a_quantile_is_met_whatever_the_stream_does(
    level: float, blocks: list[list[float]]
) -> None:
    """Any stream of bounded values, in any order, drifting as it likes; the bound is the one that
    the docstring states, after the steps have come down."""
    quantile = Quantile(level, initial=0.0)
    for _ in range(150):
        quantile.add(0.0)
    stream = [value for block in blocks for value in block * 20]
    below = 0
    for value in stream:
        below += value <= quantile.value
        quantile.add(value)
    bound = (2 * 1.0 + 0.1) / (0.1 * len(stream))
    assert abs(below / len(stream) - level) <= bound + 1e-9


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.5])
def test_expectations_of_a_power_law(spread: float) -> None:
    """Mean, median and 95th percentile of a lognormal around 3 x^0.5 / y."""
    rng = Random(7)
    quantity = Quantity(1.0, 0.0, 0.0)
    for _ in range(4000):
        x, y = exp(rng.uniform(0, 3)), exp(rng.uniform(0, 2))
        quantity.add(3 * x**0.5 / y * exp(rng.gauss(0, spread)), x, y)
    expected = quantity.expect(4.0, 2.0)
    assert log(expected.p50) == pytest.approx(log(3.0), abs=0.1 + 0.4 * spread)
    assert log(expected.p95 / expected.p50) == pytest.approx(1.645 * spread, rel=0.5)
    assert log(expected.mean / expected.p50) == pytest.approx(spread**2 / 2, abs=0.6 * spread)


@given(
    st.lists(st.tuples(st.floats(0, 1e9), st.floats(1e-3, 1e9), st.floats(1e-3, 1e9)), max_size=60),
    st.floats(1e-3, 1e9),
)
def test_expectations_are_always_numbers_in_order(
    values: list[tuple[float, float, float]], x: float
) -> None:
    quantity = Quantity(1.0, 1.0, 0.0)
    for value, *features in values:
        quantity.add(value, *features)
    expected = quantity.expect(x, 1.0)
    assert 0 <= expected.p50 <= expected.p95
    assert all(isfinite(each) and each >= 0 for each in (expected.mean, expected.p95))


def test_the_first_value_is_expected_again() -> None:
    quantity = Quantity(64.0, 0.0)
    assert quantity.seen == 0
    quantity.add(7.0, 100.0)
    assert quantity.seen == 1
    expected = quantity.expect(1000.0)
    assert expected.mean == pytest.approx(expected.p50) == pytest.approx(7.0)


@pytest.mark.parametrize("odd", [1.0, 50_000.0], ids=["small", "large"])
@pytest.mark.parametrize("at", [0, 1, 30])
def test_one_value_unlike_all_others_is_no_reason_for_enormous_ones(odd: float, at: int) -> None:
    quantity = Quantity(64.0, 0.0)
    most = 0.0
    for i in range(100):
        quantity.add(odd if i == at else (40.0, 50.0, 60.0)[i % 3], 400.0)
        if i > at:
            expected = quantity.expect(400.0)
            most = max(most, expected.mean, expected.p95)
    assert most < 20 * max(odd, 60.0)
    assert quantity.expect(400.0).mean == pytest.approx(50.0, rel=0.5)


def test_the_promised_coverage_under_drift() -> None:
    """Of latencies that jump and wander, about one in twenty is above the 95% forecast."""
    rng = Random(3)
    quantity = Quantity(1.0, 0.0, 0.0)
    above, n = 0, 6000
    for i in range(n):
        level = 1.0 + (i // 1000) % 2 + 0.3 * (i % 1000) / 1000
        value = exp(rng.gauss(level, 0.4))
        above += value > quantity.expect(1.0, 1.0).p95
        quantity.add(value, 1.0, 1.0)
    assert above / n == pytest.approx(0.05, abs=0.015)
