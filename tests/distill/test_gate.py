"""The gate by slice: what is barred, what is refused, and how often either is a mistake."""

from dataclasses import replace

import numpy as np
import pytest

from distill import gate
from distill.evaluation.slices import Slice
from distill.gate import Newest, Parts, Rival, judge
from policies.calibration import Outcomes

ALPHA, DELTA = 0.05, 0.0045


def evidence(agreed, confidences=None):
    agreed = np.asarray(agreed, dtype=bool)
    if confidences is None:
        # As sure as it may well be.
        confidences = np.linspace(0.97, 0.9999, len(agreed))
    confidences = np.asarray(confidences)
    return Outcomes(confidences[:, np.newaxis], agreed[:, np.newaxis], np.ones(len(agreed)))


def parts(count, said=None, slices=(), rival=None):
    said = np.zeros(count, dtype=int) if said is None else np.asarray(said)
    return Parts(slices, ("good", "bad", "poor"), said[:, np.newaxis], rival)


def test_without_fault_nothing_is_barred_and_nothing_refused():
    outcomes = evidence(np.arange(2000) % 100 != 0)
    thirds = [Slice("topic", f"{i}", np.arange(2000) % 3 == i) for i in range(3)]
    verdict = judge(outcomes, 0.0, ALPHA, DELTA, parts(2000, np.arange(2000) % 3, thirds))
    assert verdict.promoted
    assert (verdict.barred, verdict.veto) == ((), None)
    assert verdict.share > 0.95


def test_a_label_that_is_wrong_too_often_is_left_to_the_teacher():
    places = np.arange(3000)
    bad = places % 20 == 7
    outcomes = evidence(~(bad & (places % 3 == 0)))
    verdict = judge(outcomes, 0.0, ALPHA, DELTA, parts(3000, bad.astype(int)))
    assert verdict.promoted
    assert verdict.barred == ("bad",)
    assert verdict.wrong == 0
    assert verdict.share == pytest.approx(0.95, abs=0.01)
    assert "leaves 'bad' to the teacher" in verdict.reason
    assert judge(outcomes, 0.0, ALPHA, DELTA).barred == ()


def test_a_slice_that_breaks_the_bound_makes_the_threshold_stricter():
    """Of the rare requests those wrong that the student is least sure of."""
    places = np.arange(3000)
    rare = places % 20 == 3
    outcomes = evidence(~(rare & (places < 1000)))
    tail = Slice("rarity", "long tail", rare)
    lax = judge(outcomes, 0.0, ALPHA, DELTA, parts(3000))
    strict = judge(outcomes, 0.0, ALPHA, DELTA, parts(3000, slices=[tail]))
    assert lax.promoted
    assert strict.promoted
    assert strict.share < lax.share
    answered = outcomes.surest >= strict.threshold
    assert (~outcomes.agreed[:, 0] & answered & rare).sum() < 20


def test_a_slice_that_breaks_the_bound_everywhere_is_a_veto():
    places = np.arange(3000)
    rare = places % 25 == 3
    outcomes = evidence(~(rare & (places % 2 == 0)))
    tail = Slice("rarity", "long tail", rare)
    verdict = judge(outcomes, 0.0, ALPHA, DELTA, parts(3000, slices=[tail]))
    assert not verdict.promoted
    assert verdict.veto == verdict.reason
    assert "where rarity is long tail" in verdict.reason
    # It is known only afterwards what the teacher says, so that is no reason.
    answer = Slice("answer", "(others)", rare)
    assert judge(outcomes, 0.0, ALPHA, DELTA, parts(3000, slices=[answer])).promoted


def test_what_is_too_small_to_tell_is_no_veto():
    outcomes = evidence(np.arange(2000) != 1900)
    small = Slice("topic", "small", np.isin(np.arange(2000), [1900, 1901]))
    assert judge(outcomes, 0.0, ALPHA, DELTA, parts(2000, slices=[small])).promoted


def test_a_challenger_that_is_worse_where_the_champion_answers():
    """The champion answers half of the requests without a mistake, the challenger all of them: the
    more of them, the more wrong."""
    places = np.arange(2000)
    wrong = (places < 1000) & (places % 10 == 0)
    outcomes = evidence(~wrong)
    alone = judge(outcomes, 0.5, 0.1, DELTA, parts(2000))
    assert alone.promoted
    where = places % 2 == 0
    better = Rival(where, np.zeros(2000, dtype=bool))
    beaten = judge(outcomes, alone.share - 0.01, 0.1, DELTA, parts(2000, rival=better))
    assert not beaten.promoted
    assert beaten.share < alone.share
    assert "it is worse than the champion of all that it answers" in beaten.reason
    as_bad = Rival(where, where & wrong)
    assert judge(outcomes, 0.5, 0.1, DELTA, parts(2000, rival=as_bad)).promoted
    few = Rival(places % 100 == 0, np.zeros(2000, dtype=bool))
    assert judge(outcomes, 0.5, 0.1, DELTA, parts(2000, rival=few)).share == alone.share


def test_a_comparison_names_the_slice_that_speaks_against_the_challenger():
    places = np.arange(4000)
    part = Slice("language", "German", places % 8 == 0)
    outcomes = evidence(~(part.rows & (places % 80 < 8)))
    rival = Rival(part.rows, np.zeros(4000, dtype=bool))
    verdict = judge(outcomes, 0.0, 0.2, DELTA, parts(4000, slices=[part], rival=rival))
    assert "where language is German" in verdict.reason


def test_barring_keeps_the_promise():
    """Labels that are just within the bound are barred, and the bound is broken by what is left,
    less often than the error budget allows."""
    rng = np.random.default_rng(0)
    mistakes = 0
    for _ in range(300):
        said = rng.integers(0, 3, 1000)
        outcomes = evidence(rng.random(1000) > ALPHA, rng.random(1000))
        verdict = judge(outcomes, 0.0, ALPHA, 0.1, parts(1000, said))
        mistakes += bool(verdict.barred)
    assert mistakes <= 6


def test_an_observed_threshold_promises_nothing():
    outcomes = evidence(np.arange(100) >= 50)
    assert judge(outcomes, 0.0, ALPHA, DELTA).threshold is None
    threshold = gate.observed(outcomes, ALPHA)
    assert threshold is not None
    assert outcomes.tally(threshold).wrong <= ALPHA * outcomes.tally(threshold).answered
    assert gate.observed(evidence(np.zeros(100)), ALPHA) is None


def newest(agreed, confidences, said=0):
    count = len(agreed)
    return Newest(evidence(agreed, confidences), np.full((count, 1), said))


def test_the_newest_answers_make_the_threshold_stricter():
    """By a student of older ones, what it is least sure of is wrong."""
    outcomes = evidence(np.ones(2000))
    dated = Parts((), ("good", "bad"), np.zeros((2000, 1), dtype=int))
    confidences = np.linspace(0.97, 0.9999, 200)
    wrong_below = newest(confidences > 0.98, confidences)
    lax = judge(outcomes, 0.0, ALPHA, DELTA, dated)
    strict = judge(outcomes, 0.0, ALPHA, DELTA, replace(dated, newest=wrong_below))
    assert lax.promoted
    assert strict.promoted
    assert strict.share < lax.share
    assert "answers to the newest requests are wrong" in strict.reason
    # It spends nothing: the test was the same.
    assert strict.delta == lax.delta


def test_newest_answers_that_are_wrong_keep_a_student_out():
    outcomes = evidence(np.ones(2000))
    dated = Parts((), ("good", "bad"), np.zeros((2000, 1), dtype=int))
    confidences = np.full(50, 0.9999)
    verdict = judge(
        outcomes, 0.0, ALPHA, DELTA, replace(dated, newest=newest([0] * 50, confidences))
    )
    assert not verdict.promoted
    assert verdict.veto == (
        "50 of 50 answers to the newest requests are wrong by a student of older ones"
    )
    # What is too little to tell, and what is right, is no reason.
    for agreed in ([0], [1] * 50):
        few = newest(agreed, np.full(len(agreed), 0.9999))
        assert judge(outcomes, 0.0, ALPHA, DELTA, replace(dated, newest=few)).promoted
