"""The bench of the scorers: what it measures is so."""

from __future__ import annotations

from random import Random
from statistics import fmean

import pytest

from bench.scorers import Judged, Plain, drifting, judge, steady


@pytest.mark.parametrize("stream", [steady, drifting])
def test_the_scorers_beat_running_means_and_are_calibrated(stream) -> None:
    for name, (ours, plain) in judge(stream(3000, Random(1))).items():
        assert fmean(ours.losses[0]) < fmean(plain.losses[0])
        assert fmean(ours.losses[1]) < fmean(plain.losses[1])
        assert fmean(ours.covered[1]) == pytest.approx(0.95, abs=0.03)
        if name != "USD":
            assert fmean(ours.covered[0]) == pytest.approx(0.5, abs=0.05)
    assert len(ours.losses[0]) == 2900


def test_losses() -> None:
    judged = Judged()
    judged.add((2.0, 3.0), 4.0)
    judged.add((2.0, 3.0), 1.0)
    assert judged.losses[0] == pytest.approx([1.0, 0.5])
    assert judged.losses[1] == pytest.approx([0.95, 0.1])
    assert judged.covered == ([False, True], [False, True])


def test_plain_forecasts() -> None:
    plain = Plain()
    for value in (1.0, 2.0, 3.0):
        plain.add(value)
    mean, high = plain.quantiles()
    assert mean == pytest.approx(2.0)
    assert high == pytest.approx(2.0 + 1.645 * (2 / 3) ** 0.5)


def test_a_stream_is_the_same_again() -> None:
    once, again = list(steady(20, Random(3))), list(steady(20, Random(3)))
    assert once == again
    assert {call.toll.route for call in once} == {"teacher"}
