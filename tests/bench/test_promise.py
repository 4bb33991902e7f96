import numpy as np
import pytest

from bench.promise import draw, hindsight, report, run
from bench.stream import Figures, play

ALPHA = 0.05


@pytest.fixture(scope="module")
def runs():
    return [run(seed, 1000, audit_rate=0.2) for seed in range(6)]


def test_a_third_of_the_streams_drifts(runs):
    assert [one.drifted for one in runs] == [True, False, False, True, False, False]


def test_students_answer_no_more_than_hindsight_allows(runs):
    assert any(one.promotions for one in runs)
    for one in runs:
        if not one.drifted:
            assert one.share <= one.best


def test_a_run_is_the_same_again(runs):
    assert run(1, 1000, audit_rate=0.2) == runs[1]


def test_a_report_tells_calm_runs_from_drifted_ones(runs):
    figures = report(runs)
    assert (figures["calm: runs"], figures["drift: runs"]) == (4, 2)
    answered = [one.share for one in runs if not one.drifted]
    assert figures["calm: answered"] == pytest.approx(np.mean(answered))


def test_hindsight_keeps_to_alpha_and_no_less():
    stream = draw(np.random.default_rng(1), 800, drifts=False)
    assert 0 < hindsight(stream, ALPHA) < hindsight(stream, 0.2) <= 1


def test_a_stream_is_played_to_its_end(tmp_path):
    pairs = [(f"gold is {word} {n}", word) for n in range(120) for word in ("up", "down")]
    figures = play(0, pairs, pairs[:50], tmp_path, tune=False)
    assert isinstance(figures, Figures)
    assert 0 < figures.student * len(pairs) <= len(pairs) - figures.first + 1e-6
    assert figures.agreement == figures.control == figures.held_out_agreement == 1.0
    assert figures.saved == pytest.approx(figures.student - figures.audited)
