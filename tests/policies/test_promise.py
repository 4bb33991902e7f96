from itertools import product
from math import exp, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from policies.promise import Breach, breach, broken, drift, evidence, interval, restarted
from telemetry.audits import NO_AUDITS, AuditBlocks, AuditTally, add

ALPHA = DELTA = 0.05

alphas = st.floats(0.01, 0.6)
lives = st.lists(st.booleans(), max_size=120)
"""Whether each audit disagrees."""


def tally(wrong):
    return AuditTally(len(wrong), sum(wrong))


def cut(wrong, size):
    """Audits in blocks of any size."""
    return [tally(wrong[start : start + size]) for start in range(0, len(wrong), size)]


def blocks(wrong):
    built: list[AuditTally] = []
    for each in wrong:
        add(built, agreed=not each)
    return built


def broken_at(wrong, test):
    """The first audit at which a test of all so far is positive; None where none is."""
    built: list[AuditTally] = []
    disagreements = 0
    for audits, each in enumerate(wrong, start=1):
        add(built, agreed=not each)
        disagreements += each
        # One that agrees breaks nothing.
        if each and test(built, audits, disagreements):
            return audits
    return None


def by_product(built, audits, disagreements):
    return broken(built, ALPHA, DELTA)


def by_whole_life(built, audits, disagreements):
    return evidence(audits, disagreements, ALPHA) >= -np.log(DELTA)


def bets(wrong, size, alpha):
    """The value of all bets, with nothing left out, by their definition."""
    value = 0.5 * exp(evidence(len(wrong), sum(wrong), alpha))
    kept = 0.5
    for start in range(1, -(-len(wrong) // size)):
        since = wrong[start * size :]
        part = 0.5 / (start * (start + 1))
        value += part * exp(evidence(len(since), sum(since), alpha))
        kept -= part
    return value + kept


def lives_of(audits):
    return product([False, True], repeat=audits)


def chance(wrong, rate):
    return prod(rate if each else 1 - rate for each in wrong)


@given(alphas, st.integers(1, 4), st.integers(0, 9), st.floats(0, 1))
def test_the_bets_win_nothing_on_average_while_the_promise_is_kept(alpha, size, audits, kept):
    """They are an e-process: exactly 1 on average at the worst rate, and less below it."""
    for rate in (alpha, kept * alpha):
        every = [(chance(wrong, rate), wrong) for wrong in lives_of(audits)]
        whole = sum(likely * bets(wrong, size, alpha) for likely, wrong in every)
        assert whole <= 1 + 1e-9
        if rate == alpha:
            assert whole == pytest.approx(1)
        told = sum(likely * exp(restarted(cut(wrong, size), alpha)) for likely, wrong in every)
        assert told <= whole + 1e-9


@given(alphas, st.integers(1, 4))
def test_they_win_nothing_from_one_audit_to_the_next(alpha, size):
    for wrong in lives_of(6):
        after = alpha * bets((*wrong, True), size, alpha)
        after += (1 - alpha) * bets((*wrong, False), size, alpha)
        assert after == pytest.approx(bets(wrong, size, alpha))


@given(st.floats(0.05, 0.5), st.floats(0.05, 0.6), st.integers(1, 4))
def test_a_kept_promise_is_ever_called_broken_with_probability_delta_at_most(alpha, delta, size):
    ever = sum(
        chance(wrong, alpha)
        for wrong in lives_of(9)
        if any(broken(cut(wrong[:n], size), alpha, delta) for n in range(1, 10))
    )
    assert ever <= delta


@given(lives, st.integers(1, 30), alphas)
def test_leaving_out_what_has_lost_makes_little_difference(wrong, size, alpha):
    told, whole = exp(restarted(cut(wrong, size), alpha)), bets(wrong, size, alpha)
    assert told <= whole * (1 + 1e-9)
    # A bet on more than alpha has lost where no more than alpha disagree.
    assert whole <= told + 1


@given(lives, st.integers(1, 30), alphas)
def test_an_audit_that_agrees_never_speaks_against_a_student(wrong, size, alpha):
    before = restarted(cut(wrong, size), alpha)
    assert restarted(cut([*wrong, False], size), alpha) <= before + 1e-9
    assert restarted(cut([*wrong, True], size), alpha) >= restarted(
        cut([*wrong, False], size), alpha
    )


def test_a_kept_promise_is_seldom_called_broken_however_often_one_looks():
    rng = np.random.default_rng(3)
    streams = 400
    alarms = sum(broken_at(rng.random(600) < ALPHA, by_product) is not None for _ in range(streams))
    assert alarms / streams <= DELTA + 3 * np.sqrt(DELTA * (1 - DELTA) / streams)


def test_a_broken_promise_is_noticed():
    rng = np.random.default_rng(4)
    assert sum(broken_at(rng.random(100) < 0.2, by_product) is not None for _ in range(100)) >= 95


@pytest.mark.parametrize(("rate", "sooner"), [(0.15, 3), (0.2, 4), (0.5, 4)])
def test_a_long_good_life_hardly_delays_it(rate, sooner):
    rng = np.random.default_rng(6)
    new, whole = [], []
    for _ in range(60):
        wrong = np.concatenate([rng.random(1000) < 0.02, rng.random(1200) < rate])
        # Where it is not noticed at all, that counts as very late.
        new.append(broken_at(wrong, by_product) or len(wrong))
        whole.append(broken_at(wrong, by_whole_life) or len(wrong))
    assert np.median(whole) - 1000 > sooner * (np.median(new) - 1000)


def test_a_new_student_costs_hardly_more():
    rng = np.random.default_rng(7)
    new, whole = [], []
    for _ in range(200):
        wrong = rng.random(400) < 0.2
        new.append(broken_at(wrong, by_product) or len(wrong))
        whole.append(broken_at(wrong, by_whole_life) or len(wrong))
    assert np.median(new) <= np.median(whole) + 6


def test_total_disagreement_is_noticed_at_once():
    assert broken([AuditTally(3, 3)], ALPHA, DELTA)
    assert not broken([AuditTally(0, 0)], ALPHA, DELTA)
    assert not broken([], ALPHA, DELTA)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_evidence_grows_with_disagreements(right, wrong):
    assert evidence(right + wrong + 1, wrong + 1, ALPHA) > evidence(right + wrong + 1, wrong, ALPHA)


@given(st.integers(0, 3000), st.integers(0, 3000), st.floats(0.001, 0.9))
def test_evidence_is_that_of_the_mixture(right, wrong, alpha):
    audits = right + wrong
    # All rates above alpha, each as likely: the beta function, and its part above alpha.
    below = binom.logcdf(wrong, audits + 1, alpha)
    if below > -600:
        every = -np.log(audits + 1) - binom.logpmf(wrong, audits, alpha)
        expected = every + below - np.log1p(-alpha)
        if np.isfinite(expected):
            assert evidence(audits, wrong, alpha) == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_what_gives_a_student_away():
    assert breach(NO_AUDITS, 0, ALPHA, DELTA) is None
    new = AuditBlocks(blocks([True] * 4))
    assert breach(new, 0, ALPHA, DELTA) == Breach(None, 4, 4, lifelong=True)
    # A long good life, then every fourth is wrong: less than alpha altogether.
    wrong = [False] * 1000 + [False, False, False, True] * 20
    late = breach(AuditBlocks(blocks(wrong)), 0, ALPHA, DELTA)
    assert late == Breach(None, 80, 20, lifelong=False)
    assert str(late) == "20 of the last 80 audits disagree"
    assert sum(wrong) < ALPHA * len(wrong)
    assert not by_whole_life([], len(wrong), sum(wrong))


def test_a_slice_that_breaks_the_promise_on_its_own():
    tail = [False, False, False, True] * 10
    whole = AuditBlocks(
        blocks([False] * 1000 + tail),
        {"the rest": blocks([False] * 1000), "long tail": blocks(tail)},
    )
    found = breach(whole, 2, ALPHA, DELTA)
    assert found == Breach("long tail", 40, 10, lifelong=True)
    assert str(found) == "10 of 40 audits of 'long tail' disagree"
    late = AuditBlocks((), {"long tail": blocks([False] * 500 + tail * 2)})
    assert str(breach(late, 2, ALPHA, DELTA)) == "20 of the last 80 audits of 'long tail' disagree"
    # Where slices do not matter they are not looked at.
    assert breach(late, 0, ALPHA, DELTA) is None
    # The more there are, the more it takes.
    assert breach(late, 10**9, ALPHA, DELTA) is None


@given(lives, st.dictionaries(st.sampled_from("abc"), lives), st.sampled_from([0, 3, 10]))
def test_drift_reaches_one_as_the_promise_breaks(wrong, by_stratum, strata):
    audits = AuditBlocks(blocks(wrong), {name: blocks(each) for name, each in by_stratum.items()})
    score = drift(audits, strata, ALPHA, DELTA)
    assert score >= 0
    assert (score >= 1) == (breach(audits, strata, ALPHA, DELTA) is not None)


@given(lives)
def test_blocks_hold_all_audits_in_order(wrong):
    built = blocks(wrong)
    assert built == cut(wrong, 25)
    assert AuditBlocks(built).total == tally(wrong)


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_interval_is_around_what_was_seen(right, wrong):
    audits = right + wrong
    low, high = interval(audits, wrong, DELTA)
    assert 0 <= low <= high <= 1
    if audits:
        assert low <= wrong / audits <= high
    # Seen from the other side it is the same.
    mirrored = interval(audits, right, DELTA)
    assert np.allclose((low, high), (1 - mirrored[1], 1 - mirrored[0]))


def test_the_interval_holds_the_true_rate_at_every_moment():
    rng = np.random.default_rng(5)
    streams, missed = 200, 0
    for _ in range(streams):
        wrong = np.cumsum(rng.random(200) < ALPHA)
        ends = [interval(n, int(k), DELTA) for n, k in enumerate(wrong, start=1)]
        missed += any(not low <= ALPHA <= high for low, high in ends)
    assert missed / streams <= DELTA + 3 * np.sqrt(DELTA * (1 - DELTA) / streams)
