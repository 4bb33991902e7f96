"""The bound, on paper and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from policies.calibration import (
    Outcomes,
    Plan,
    Tally,
    attempt_delta,
    least_answers,
    plan,
    upper_bound,
    walk,
)

ALPHA = DELTA = 0.05
tallies = st.integers(0, 400).flatmap(
    lambda answered: st.builds(Tally, st.just(answered), st.integers(0, answered))
)
levels = st.floats(1e-6, 0.5)


def test_upper_bound_is_clopper_and_pearsons():
    # The rule of three made exact: no error in n answers leaves 1 - delta ** (1 / n).
    assert upper_bound(Tally(59, 0), 0.05) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert upper_bound(Tally(100, 3), 0.025) == pytest.approx(0.08518, abs=1e-5)
    assert upper_bound(Tally(0, 0), 0.05) == 1.0


@given(tallies, levels, st.floats(0.01, 0.5))
def test_the_bound_meets_alpha_iff_the_binomial_test_rejects(tally, delta, alpha):
    p_value = binom.cdf(tally.wrong, tally.answered, alpha)
    if abs(p_value - delta) > 1e-9:
        assert (upper_bound(tally, delta) <= alpha) == (p_value < delta)


@given(tallies, levels, levels)
def test_more_confidence_costs_a_wider_bound(tally, one, other):
    sure, unsure = sorted((one, other))
    assert upper_bound(tally, sure) >= upper_bound(tally, unsure)


@given(st.floats(0.01, 0.3), st.floats(1e-4, 0.3))
def test_least_answers_is_the_least(alpha, delta):
    least = least_answers(alpha, delta)
    assert upper_bound(Tally(least, 0), delta) <= alpha + 1e-9
    assert upper_bound(Tally(least - 1, 0), delta) > alpha - 1e-9


def test_all_attempts_together_spend_at_most_delta():
    spent = [attempt_delta(0.05, attempt) for attempt in range(1, 10_000)]
    assert sum(spent) <= 0.05
    assert sum(spent) == pytest.approx(0.05, rel=1e-3)


def test_the_first_confident_rung_answers():
    outcomes = Outcomes(
        confidences=np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.4], [0.9, 0.9]]),
        agreed=np.array([[False, True], [False, True], [False, False], [True, False]]),
    )
    assert outcomes.tally(0.7) == Tally(answered=3, wrong=1)
    assert outcomes.tally(0.95) == Tally(answered=0, wrong=0)


def test_a_level_is_handed_on_only_by_a_test_that_passes():
    confidences = np.linspace(1, 0, 400).reshape(-1, 1)
    agreed = np.ones((400, 1), dtype=bool)
    agreed[100:200] = False
    planned = Plan((0.75, 0.5, 0.25), (0.05, 0.0, 0.0), share=0.25)
    tested = walk(planned, Outcomes(confidences, agreed), ALPHA)
    assert [one.passed for one in tested] == [True, False, False]
    assert tested[2].upper == 1.0


def test_no_plan_without_enough_held_out_data():
    sure = Outcomes(np.ones((200, 1)), np.ones((200, 1), dtype=bool))
    assert plan(sure, 20, ALPHA, DELTA) is None
    assert plan(sure, 0, ALPHA, DELTA) is None


def test_no_plan_for_what_cannot_be_predicted():
    rng = np.random.default_rng(0)
    unpredictable = Outcomes(rng.random((400, 1)), rng.random((400, 1)) < 0.5)
    assert plan(unpredictable, 400, ALPHA, DELTA) is None


@given(st.integers(1, 3), st.integers(80, 500), st.integers(0, 2**32 - 1))
def test_a_plan_runs_from_strict_to_lax_and_spends_its_budget(rungs, held_out, seed):
    rng = np.random.default_rng(seed)
    confidences = rng.random((150, rungs))
    agreed = rng.random((150, rungs)) < 0.9 + confidences / 10
    planned = plan(Outcomes(confidences, agreed), held_out, ALPHA, DELTA)
    if planned is not None:
        assert list(planned.thresholds) == sorted(set(planned.thresholds), reverse=True)
        assert sum(planned.levels) == pytest.approx(DELTA)


# Synthetic streams: a student whose chance to agree grows with its confidence, retrained and put
# to the test five times while its task's data grow.

STREAMS = 1000
SIZES = (150, 220, 330, 500, 750)


def agreement(confidence, steepness):
    """Chance that an answer of this confidence agrees: just misses the bound at full coverage."""
    return 1 - 2 * (ALPHA + 0.004) * (1 - confidence) ** steepness


def true_risk(threshold, steepness):
    grid = np.linspace(threshold, 1, 2001)
    return float(np.mean(1 - agreement(grid, steepness)))


def draw(rng, size, steepness):
    confidences = rng.random((size, 1))
    return Outcomes(confidences, rng.random((size, 1)) < agreement(confidences, steepness))


def by_gate(training, held_out, attempt):
    planned = plan(training, len(held_out), ALPHA, attempt_delta(DELTA, attempt))
    tested = walk(planned, held_out, ALPHA) if planned else []
    return min((one.threshold for one in tested if one.passed), default=None)


def by_tuning(training, held_out, attempt):
    """The plain tuned cut-off: the laxest threshold at which few enough held-out answers err."""
    within = [
        threshold
        for threshold in np.linspace(0, 1, 51)
        for tally in [held_out.tally(threshold)]
        if tally.answered and tally.wrong <= ALPHA * tally.answered
    ]
    return min(within, default=None)


def violation_rate(choose, steepness):
    """Share of streams in which any student that took traffic breaks the promise."""
    rng = np.random.default_rng(12)
    violated = 0
    for _ in range(STREAMS):
        thresholds = []
        for attempt, size in enumerate(SIZES, start=1):
            training, held_out = draw(rng, size, steepness), draw(rng, size, steepness)
            thresholds.append(choose(training, held_out, attempt))
        violated += any(
            threshold is not None and true_risk(threshold, steepness) > ALPHA
            for threshold in thresholds
        )
    return violated / STREAMS


LIMIT = DELTA + 3 * np.sqrt(DELTA * (1 - DELTA) / STREAMS)


@pytest.mark.parametrize("steepness", [0.0, 0.9, 1.0])
def test_the_promise_holds_over_a_thousand_streams(steepness):
    assert violation_rate(by_gate, steepness) <= LIMIT


@pytest.mark.parametrize("steepness", [0.9, 1.0])
def test_a_tuned_cut_off_would_break_it(steepness):
    assert violation_rate(by_tuning, steepness) > 2 * LIMIT
