"""Slices that must keep the promise each on its own: how they are told, tested and served."""

import math
import random
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import PolicySettings, SliceKind
from distill.card import Verdict
from distill.data.dataset import build
from distill.evaluation.strata import Floors, Strata
from distill.evaluation.telling import REST
from distill.gate import Parts, expected_share, judge, thresholds
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from distill.students.base import Prediction
from distill.students.ladder import Ladder
from distill.students.usage import UsageModel
from policies.calibration import Outcomes
from telemetry.exchange import TaskState
from tests.distill.synthetic import WORDS, exchanges, stream

ALPHA, DELTA = 0.05, 0.05
KINDS = get_args(SliceKind)
TEXTS = [text for text, _ in stream(200)] + ["und das ist nicht die Frage, sondern der Weg"] * 30
USAGE = UsageModel(10.0, 0.0, {}, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_slice_is_told_again_from_what_was_saved(tmp_path, kind):
    strata, names = Strata.fit(kind, TEXTS)
    assert len(names) == len(TEXTS)
    assert set(names) <= {*strata.names, REST}
    assert len(strata.names) > 1
    Floors(strata, {strata.names[0]: 0.9}).save(tmp_path)
    kept = Floors.load(tmp_path)
    assert kept is not None
    fresh = [text for text, _ in stream(50, seed=9)] + TEXTS[-1:]
    assert kept.strata.of(fresh) == strata.of(fresh)
    places = [kept.of(text) for text in fresh]
    assert [place.stratum for place in places] == strata.of(fresh)
    floors = {place.floor for place in places if place.stratum != strata.names[0]}
    assert floors == {math.inf}


def test_where_nothing_was_saved_slices_do_not_matter(tmp_path):
    assert Floors.load(tmp_path) is None


def test_slices_of_few_requests_go_together():
    strata, names = Strata.fit("language", [*TEXTS, "le chat est sur la table et dans la rue"])
    assert "French" not in strata.names
    assert names[-1] == REST
    assert strata.of(["le chat est sur la table et dans la rue"]) == [REST]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=60), st.text(max_size=60))
def test_every_text_is_in_one_slice(texts, other):
    for kind in KINDS:
        strata, names = Strata.fit(kind, texts)
        assert len(names) == len(texts)
        (name,) = strata.of([other])
        assert name in {*strata.names, REST}
        if kind != "rarity":
            # How rare a text is among the others is not how rare it is beside all of them.
            assert strata.of(texts) == names


def evidence(agreed, confidences=None):
    if confidences is None:
        confidences = np.linspace(0.999, 0.9, len(agreed))
    return Outcomes(confidences[:, np.newaxis], agreed[:, np.newaxis], np.ones(len(agreed)))


def by(outcomes, strata):
    return judge(outcomes, 0.0, ALPHA, DELTA, Parts.plain(outcomes, strata))


def test_a_long_tail_cannot_hide_in_the_average():
    places = np.arange(3000)
    tail = places % 10 == 3
    outcomes = evidence(~(tail & (places % 40 < 8)))
    strata = np.where(tail, "long tail", "usual").tolist()
    average = by(outcomes, None)
    assert average.promoted
    assert average.share > 0.99
    apart = by(outcomes, strata)
    assert apart.promoted
    assert apart.floors.keys() == {"usual"}
    assert "leaves 'long tail' to the teacher" in apart.reason
    assert apart.share == pytest.approx(0.9, abs=0.02)
    given = Parts.plain(outcomes, strata).given(outcomes, apart)
    assert not (given.answered & tail).any()


def test_a_slice_has_a_threshold_of_its_own():
    """Of the harder slice the half that the student is less sure of is often wrong."""
    places = np.arange(4000)
    hard = places % 2 == 0
    outcomes = evidence(~(hard & (places > 2000) & (places % 10 == 0)))
    strata = np.where(hard, "hard", "easy").tolist()
    verdict = by(outcomes, strata)
    assert verdict.promoted
    assert verdict.floors["hard"] > verdict.floors["easy"] == verdict.threshold
    given = Parts.plain(outcomes, strata).given(outcomes, verdict)
    for rows in (hard, ~hard):
        assert given.wrong[rows].sum() <= ALPHA * given.answered[rows].sum()


def test_a_slice_that_is_too_small_to_tell_is_the_teachers():
    outcomes = evidence(np.ones(1000, dtype=bool), np.linspace(0.9999, 0.999, 1000))
    few = np.arange(1000) % 20 == 0
    verdict = by(outcomes, np.where(few, "few", "many").tolist())
    assert verdict.promoted
    assert verdict.floors.keys() == {"many"}
    assert expected_share(outcomes, ALPHA, DELTA, ["few"] * 50 + ["many"] * 950) == pytest.approx(
        0.95, abs=0.01
    )


def test_each_slice_keeps_the_promise_as_often_as_is_said():
    """Slices just beyond the bound pass, any of them, in no more runs than ``delta``."""
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(300):
        strata = rng.choice(["a", "b", "c"], 1500).tolist()
        confidences = rng.uniform(0.94, 1.0, 1500)
        outcomes = evidence(rng.random(1500) > 1.01 * ALPHA, confidences)
        broken += bool(by(outcomes, strata).floors)
    assert broken <= 300 * DELTA + 3 * (300 * DELTA * (1 - DELTA)) ** 0.5


class Sure:
    """A rung that is as sure of every text as it is told."""

    name = "ngram"
    fast = True

    def __init__(self, answer, confidence):
        self.said = Prediction(answer, confidence)
        self.asked = []

    def predict(self, texts):
        self.asked += texts
        return [self.said] * len(texts)


def ladder(*rungs, thresholds, barred=()):
    strata = Strata("length", ("up to 3 characters", "over 3 characters"), (3,))
    floors = Floors(strata, thresholds)
    least = min(thresholds.values())
    return Ladder("v", "t", least, 0.5, "", rungs, USAGE, barred=barred, floors=floors)


def test_a_student_is_as_sure_as_the_slice_wants_it_to_be():
    student = ladder(
        Sure("yes", 0.9), thresholds={"up to 3 characters": 0.8, "over 3 characters": 0.95}
    )
    short, long = student.predict(["abc", "abcd"])
    assert short.confidence == 0.9
    assert long.confidence < student.threshold
    # It says no less than that it would be wrong more often than it may.
    assert long.confidence == pytest.approx(student.threshold)


def test_the_next_rung_is_asked_where_a_slice_wants_more():
    first, second = Sure("yes", 0.9), Sure("no", 0.97)
    thresholds = {"up to 3 characters": 0.8, "over 3 characters": 0.95}
    said = ladder(first, second, thresholds=thresholds).predict(["abc", "abcd"])
    assert second.asked == ["abcd"]
    assert [(each.answer, each.confidence) for each in said] == [("yes", 0.9), ("no", 0.97)]


def test_a_slice_that_is_the_teachers_is_not_asked_about_twice():
    first, second = Sure("yes", 0.99), Sure("no", 0.99)
    student = ladder(first, second, thresholds={"up to 3 characters": 0.8})
    (said,) = student.predict(["abcd"])
    assert said.confidence < student.threshold
    assert second.asked == []


def hard_when_long(count, seed=0):
    """Requests that anybody can answer, and a third that are long: of these a seventh is answered
    at random, which nothing in their texts gives away."""
    rng = random.Random(seed)
    found = []
    for i, (text, answer) in enumerate(stream(count, seed=seed)):
        if i % 3 == 0:
            text = f"{text} {'and so on and on ' * 8}"
            answer = rng.choice(list(WORDS)) if i % 7 == 0 else answer
        found.append((text, answer))
    return found


def test_a_training_run_leaves_the_slice_that_cannot_be_learnt(tmp_path):
    policy = PolicySettings(by_slice="length")
    data = build(exchanges(hard_when_long(1500)))
    result = retrain(Challenge("v1", data, TaskState("support"), policy))
    assert result.verdict.promoted
    assert result.ladder is not None
    result.ladder.save(tmp_path)
    student = Ladder.load(tmp_path)
    assert student.floors is not None
    assert student.floors.thresholds == result.verdict.floors
    assert student.threshold == min(result.verdict.floors.values())
    fresh = [text for text, _ in hard_when_long(60, seed=5)]
    said = [each.confidence >= student.threshold for each in student.predict(fresh)]
    assert not any(said[::3])
    assert any(said)


def to_beat(champion, policy):
    return Challenge("v", build([]), TaskState("support"), policy, champion).to_beat


def test_a_champion_whose_slices_did_not_matter_is_no_measure_for_one_whose_do():
    plain = ladder(Sure("yes", 1.0), thresholds={"up to 3 characters": 0.8})
    assert to_beat(None, PolicySettings()) == 0.0
    assert to_beat(plain, PolicySettings(by_slice="length")) == plain.worth
    assert to_beat(plain, PolicySettings(by_slice="rarity")) == 0.0
    assert to_beat(replace(plain, floors=None), PolicySettings(by_slice="length")) == 0.0
    assert to_beat(plain, PolicySettings()) == plain.worth


def test_a_verdict_places_each_request():
    verdict = Verdict(True, "", 0.8, floors={"a": 0.8, "b": 0.9})
    np.testing.assert_array_equal(thresholds(verdict, ["b", "a", "c"]), [0.9, 0.8, math.inf])
    assert thresholds(Verdict(True, "", 0.8), None) == 0.8
