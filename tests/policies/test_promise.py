import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from policies.promise import broken, evidence

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
