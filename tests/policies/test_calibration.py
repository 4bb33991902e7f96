"""The bound, on paper and by simulation."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from policies.calibration import (
    Outcomes,
    Tally,
    attempt_delta,
    least_answers,
    level_of,
    prospect,
    upper_bound,
    walk,
)

ALPHA = DELTA = 0.05
tallies = st.integers(1, 400).flatmap(
    lambda answered: st.builds(Tally.plain, st.just(answered), st.integers(0, answered))
)
levels = st.floats(1e-6, 0.5)


def outcomes(confidences, agreed, weights=None):
    """Of one rung."""
    weights = np.ones(len(confidences)) if weights is None else weights
    return Outcomes(np.reshape(confidences, (-1, 1)), np.reshape(agreed, (-1, 1)), weights)


def test_the_upper_bound_of_equal_weights_is_garwoods():
    # The rule of three: no error in n answers leaves -ln(delta) / n.
    assert upper_bound(Tally.plain(100, 0), 0.05) == pytest.approx(-np.log(0.05) / 100)
    assert upper_bound(Tally.plain(100, 3), 0.025) == pytest.approx(0.0876727, abs=1e-6)
    assert upper_bound(Tally.plain(0, 0), 0.05) == 1.0


@given(tallies, levels)
def test_the_upper_bound_is_where_so_few_errors_are_that_unlikely(tally, delta):
    bound = upper_bound(tally, delta)
    if bound < 1:
        assert poisson.cdf(tally.wrong, bound * tally.answered) == pytest.approx(delta, rel=1e-6)


@given(tallies, st.floats(0.01, 100), levels)
def test_the_unit_of_weights_does_not_matter(tally, unit, delta):
    scaled = Tally(
        tally.answered,
        tally.wrong,
        tally.weight * unit,
        tally.wrong_weight * unit,
        tally.wrong_square * unit**2,
        tally.heaviest * unit,
    )
    assert upper_bound(scaled, delta) == pytest.approx(upper_bound(tally, delta))


@given(tallies, levels, levels)
def test_more_confidence_costs_a_wider_bound(tally, one, other):
    sure, unsure = sorted((one, other))
    assert upper_bound(tally, sure) >= upper_bound(tally, unsure)


def test_the_bound_covers_where_weights_differ():
    """Among answers of two strata, of which one is seen ten times as often as the other."""
    rng = np.random.default_rng(5)
    streams = 2000
    missed = 0
    for _ in range(streams):
        weights = np.repeat([1.0, 10.0], [400, 60])
        wrong = rng.random(460) < np.repeat([0.1, 0.03], [400, 60])
        tally = outcomes(np.ones(460), ~wrong, weights).tally(0.5)
        truth = (400 * 0.1 + 600 * 0.03) / 1000
        missed += upper_bound(tally, DELTA) < truth
    assert missed / streams <= DELTA + 3 * np.sqrt(DELTA * (1 - DELTA) / streams)


@given(st.floats(0.01, 0.3), st.floats(1e-4, 0.3))
def test_least_answers_is_the_least(alpha, delta):
    least = least_answers(alpha, delta)
    assert upper_bound(Tally.plain(int(np.ceil(least)), 0), delta) <= alpha + 1e-9
    assert upper_bound(Tally.plain(int(least - 1), 0), delta) > alpha - 1e-9


def test_all_attempts_together_spend_at_most_delta():
    spent = [attempt_delta(0.05, attempt) for attempt in range(1, 100_000)]
    assert sum(spent) <= 0.05
    assert sum(spent) == pytest.approx(0.05, rel=1e-3)
    assert spent == sorted(spent, reverse=True)


def test_the_first_confident_rung_answers():
    given = Outcomes(
        confidences=np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.4], [0.9, 0.9]]),
        agreed=np.array([[False, True], [False, True], [False, False], [True, False]]),
        weights=np.array([1.0, 1.0, 1.0, 1.0]),
    )
    assert given.tally(0.7) == Tally.plain(answered=3, wrong=1)
    assert given.tally(0.95) == Tally.plain(answered=0, wrong=0)


@given(tallies, levels)
def test_the_level_of_a_bound_is_the_one_at_which_it_is_met(tally, alpha):
    level = level_of(tally, alpha)
    if 1e-9 < level < 1 - 1e-9:
        assert upper_bound(tally, level) == pytest.approx(min(1, alpha), rel=1e-4)


def foretell(evidence):
    """What a test that is worth it is expected to come to."""
    expected = prospect(evidence, ALPHA, DELTA)
    assert expected is not None
    return expected


def put_to_test(evidence, delta=DELTA):
    expected = prospect(evidence, ALPHA, delta)
    return [] if expected is None else walk(evidence, expected, ALPHA, delta)


def a_third_of(rows):
    """A third of them."""
    return np.flatnonzero(rows)[::3]


def test_thresholds_are_tested_from_strict_to_lax_until_one_fails():
    confidences = np.linspace(1, 0.9, 2000)
    agreed = np.ones(2000, dtype=bool)
    agreed[1000:1200] = False
    tested = put_to_test(outcomes(confidences, agreed))
    assert all(one.threshold > two.threshold for one, two in pairwise(tested))
    assert [one.passed for one in tested][-5:] == [True] * 4 + [False]
    assert tested[-1].tally.wrong > 0


def test_stricter_thresholds_are_tested_where_the_likeliest_passes():
    """With less of the budget: they take more evidence."""
    confidences = np.concatenate([np.linspace(1, 0.99, 600), np.full(400, 0.98)])
    good = outcomes(confidences, np.ones(1000, dtype=bool))
    expected = foretell(good)
    first = expected.laxer[0]
    tested = put_to_test(good)
    passed = [one for one in tested if one.passed]
    assert passed[0].threshold > first
    assert passed[0].tally.answered >= least_answers(ALPHA, 0.1 * DELTA)
    wrong = np.ones(1000, dtype=bool)
    wrong[a_third_of(confidences >= first)] = False
    assert [one.threshold for one in put_to_test(outcomes(confidences, wrong))] == [first]


def test_testing_begins_where_confidences_say_it_is_the_likeliest_to_pass():
    """Among the surest there is too little evidence, of all of them too much is wrong."""
    confidences = np.concatenate([np.full(100, 0.999), np.full(900, 0.98), np.full(1000, 0.6)])
    agreed = np.ones(2000, dtype=bool)
    agreed[:8] = False
    evidence = outcomes(confidences, agreed)
    assert foretell(evidence).laxer[0] == 0.98
    passed = [one for one in put_to_test(evidence) if one.passed]
    assert passed[0].threshold == 0.98
    assert passed[0].share == pytest.approx(0.5)


def test_the_share_that_is_foretold_is_that_of_what_passes_if_confidences_are_right():
    rng = np.random.default_rng(3)
    foretold, found = [], []
    for _ in range(40):
        confidences = 1 - 0.2 * rng.random(3000) ** 2
        evidence = outcomes(confidences, rng.random(3000) < confidences)
        foretold.append(foretell(evidence).share)
        found.append(max((one.share for one in put_to_test(evidence) if one.passed), default=0.0))
    assert np.mean(found) == pytest.approx(np.mean(foretold), abs=0.05)


def test_nothing_is_tested_without_enough_evidence():
    for size in (0, 1, 20, 59):
        sure = outcomes(np.ones(size), np.ones(size, dtype=bool))
        assert prospect(sure, ALPHA, DELTA) is None
    assert prospect(outcomes(np.ones(63), np.ones(63, dtype=bool)), ALPHA, DELTA) is not None


def test_a_test_is_made_where_two_in_three_would_pass():
    """Where the bound is only just expected to be met, every second one would spend its budget in
    vain."""
    rng = np.random.default_rng(1)
    passed = []
    for confidence in (0.96, 0.965, 0.97):
        sizes = ((n, np.full(n, confidence)) for n in range(50, 4000, 10))
        size, alike = next(
            (n, sure)
            for n, sure in sizes
            if prospect(outcomes(sure, np.ones(n, dtype=bool)), ALPHA, DELTA)
        )
        for _ in range(300):
            tested = put_to_test(outcomes(alike, rng.random(size) < confidence))
            passed.append(any(one.passed for one in tested))
    assert 0.63 <= np.mean(passed) <= 0.78


def test_what_does_not_trust_itself_is_not_tested():
    rng = np.random.default_rng(0)
    unsure = outcomes(rng.random(4000) * 0.9, np.ones(4000, dtype=bool))
    assert prospect(unsure, ALPHA, DELTA) is None


def test_nothing_passes_of_what_cannot_be_predicted():
    rng = np.random.default_rng(0)
    unpredictable = outcomes(0.99 + rng.random(400) / 100, rng.random(400) < 0.5)
    tested = put_to_test(unpredictable)
    assert tested
    assert not any(one.passed for one in tested)


@given(st.integers(1, 3), st.integers(1, 500), st.integers(0, 2**32 - 1))
def test_what_is_tested_depends_on_confidences_and_weights_alone(rungs, size, seed):
    rng = np.random.default_rng(seed)
    confidences = 0.9 + rng.random((size, rungs)) / 10
    weights = rng.choice([1.0, 10.0], size)
    one, other = (
        prospect(Outcomes(confidences, rng.random((size, rungs)) < rate, weights), ALPHA, DELTA)
        for rate in (0.2, 0.99)
    )
    assert one == other


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_smoothing_keeps_the_number_of_requests(size, seed):
    rng = np.random.default_rng(seed)
    given = outcomes(rng.random(size), rng.random(size) < 0.9, rng.choice([1.0, 10.0], size))
    smoothed = given.smoothed()
    assert smoothed.weights.sum() == pytest.approx(given.weights.sum())
    assert len(set(smoothed.weights)) <= 20


# Synthetic streams: a student whose chance to agree grows with its confidence, retrained and put
# to the test five times while its task's data grow.

STREAMS = 250
SIZES = (150, 220, 330, 500, 750)


def agreement(confidence, steepness):
    """Chance that an answer of this confidence agrees: just misses the bound at full coverage."""
    return 1 - 2 * (ALPHA + 0.004) * (1 - confidence) ** steepness


def true_risk(threshold, steepness):
    grid = np.linspace(threshold, 1, 2001)
    return float(np.mean(1 - agreement(grid, steepness)))


def draw(rng, size, steepness):
    confidences = rng.random(size)
    return outcomes(confidences, rng.random(size) < agreement(confidences, steepness))


class Gate:
    """Tests a stream's students, which trust themselves more than they should: or most of them
    would not even be tested."""

    def __init__(self, steepness):
        self.steepness, self.attempts = steepness, 0

    def __call__(self, evidence):
        errors = (1 - agreement(evidence.confidences, self.steepness)) * 0.3
        # Equal confidences would have but one threshold.
        trusted = 1 - errors + evidence.confidences * 1e-9
        delta = attempt_delta(DELTA, self.attempts + 1)
        tested = put_to_test(Outcomes(trusted, evidence.agreed, evidence.weights), delta)
        self.attempts += bool(tested)
        passed = [one.threshold for one in tested if one.passed]
        return float(evidence.confidences[trusted >= passed[-1]].min()) if passed else None


def by_tuning(evidence):
    """The plain tuned cut-off: the laxest threshold at which few enough answers err."""
    within = [
        threshold
        for threshold in np.linspace(0, 1, 51)
        for tally in [evidence.tally(threshold)]
        if tally.answered and tally.wrong <= ALPHA * tally.answered
    ]
    return min(within, default=None)


def violation_rate(chooser, steepness):
    """Share of streams in which any student that took traffic breaks the promise."""
    rng = np.random.default_rng(12)
    violated = 0
    for _ in range(STREAMS):
        choose = chooser(steepness)
        thresholds = [choose(draw(rng, size, steepness)) for size in SIZES]
        violated += any(
            threshold is not None and true_risk(threshold, steepness) > ALPHA
            for threshold in thresholds
        )
    return violated / STREAMS


LIMIT = DELTA + 3 * np.sqrt(DELTA * (1 - DELTA) / STREAMS)


@pytest.mark.parametrize("steepness", [0.0, 0.9, 1.0])
def test_the_promise_holds_over_many_streams(steepness):
    assert violation_rate(Gate, steepness) <= LIMIT


@pytest.mark.parametrize("steepness", [0.9, 1.0])
def test_a_tuned_cut_off_would_break_it(steepness):
    assert violation_rate(lambda _: by_tuning, steepness) > 2 * LIMIT
