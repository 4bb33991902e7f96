import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from policies.promise import broken, drift, evidence, interval

ALPHA = DELTA = 0.05


def ever_broken(rng, rate, audits):
    wrong = np.cumsum(rng.random(audits) < rate)
    return any(broken(n, int(k), ALPHA, DELTA) for n, k in enumerate(wrong, start=1))


def test_a_kept_promise_is_seldom_called_broken_however_often_one_looks():
    rng = np.random.default_rng(3)
    streams = 400
    false_alarms = sum(ever_broken(rng, ALPHA, 300) for _ in range(streams))
    assert false_alarms / streams <= DELTA + 3 * np.sqrt(DELTA * (1 - DELTA) / streams)


def test_a_broken_promise_is_noticed():
    rng = np.random.default_rng(4)
    assert sum(ever_broken(rng, 0.2, 100) for _ in range(100)) >= 95


def test_total_disagreement_is_noticed_at_once():
    assert broken(3, 3, ALPHA, DELTA)
    assert not broken(0, 0, ALPHA, DELTA)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_evidence_grows_with_disagreements(right, wrong):
    assert evidence(right + wrong + 1, wrong + 1, ALPHA) > evidence(right + wrong + 1, wrong, ALPHA)


@given(st.integers(0, 300), st.integers(0, 300))
def test_drift_reaches_one_as_the_promise_breaks(right, wrong):
    audits = right + wrong
    assert (drift(audits, wrong, ALPHA, DELTA) >= 1) == broken(audits, wrong, ALPHA, DELTA)
    assert drift(audits, wrong, ALPHA, DELTA) >= 0


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
