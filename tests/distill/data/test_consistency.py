"""How often a teacher agrees with itself, and what that says of its answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from distill.data.card import card
from distill.data.consistency import consistency
from distill.data.dataset import build
from distill.data.review import findings
from distill.data.suspects import suspects
from telemetry.exchange import Exchange
from tests.distill.synthetic import exchange, exchanges, stream


def asked_again(index: int, answer: str, *said: str, **rest: Any) -> Exchange:
    return exchange(index, f"text {index * 7919}", answer, repeats=json.dumps(said), **rest)


def test_the_ceiling_of_agreement_and_its_interval() -> None:
    rows = [asked_again(i, "yes", "yes") for i in range(9)]
    rows += [asked_again(9, "yes", "no", "no"), exchange(10, "never asked again", "yes")]
    found = consistency(build(rows))
    assert found is not None
    assert (found.asked, found.agreed, found.share) == (10, 9, pytest.approx(0.9))
    assert found.low == pytest.approx(0.555, abs=1e-3)
    assert found.high == pytest.approx(0.9975, abs=1e-3)
    assert card(build(rows), rows, {}).consistency == found


def test_answers_stand_for_as_many_requests_as_they_do() -> None:
    rows = [asked_again(0, "yes", "yes", propensity=0.25), asked_again(1, "yes", "no", "yes")]
    found = consistency(build(rows))
    assert found is not None
    assert found.share == pytest.approx(4 / 5)


def test_nothing_is_known_of_a_teacher_that_was_asked_once() -> None:
    rows = exchanges(stream(3))
    assert consistency(build(rows)) is None
    assert card(build(rows), rows, {}).consistency is None
    corrected = asked_again(1, "yes", "no", right_answer="no")
    assert consistency(build([corrected])) is None


def test_what_most_samples_contradict_is_suspected() -> None:
    rows = [
        asked_again(0, "yes", "no", "no"),
        asked_again(1, "yes", "no", "yes"),
        asked_again(2, "yes", "no"),
        asked_again(3, "yes", "no", "no", score=1.0),
    ]
    probabilities = np.full((len(rows), 2), 0.5)
    (found,) = suspects(build(rows), ["yes", "no"], probabilities)
    assert (found.place, found.doubt, found.suggestion) == (0, "inconsistent", "no")
    assert found.probability == pytest.approx(2 / 3)


def test_a_person_is_shown_it() -> None:
    rows = exchanges(stream(200))
    answer = rows[0].teacher_answer
    other = next(each.teacher_answer for each in rows if each.teacher_answer != answer)
    rows[0] = exchange(0, "something else", answer or "", repeats=json.dumps([other, other]))
    found = {one.id: one for one in findings(build(rows), rows)}
    assert found["support-0"].suggestion == other


def test_the_dataset_is_another_once_more_is_known() -> None:
    once, again = exchange(1, "text 7919", "yes"), asked_again(1, "yes", "yes")
    assert build([once]).version != build([again]).version


def test_private_data_are_masked_in_what_was_said_again() -> None:
    text = "Write to ann@example.org"
    said = json.dumps(["ann@example.org"])
    row = exchange(0, text, "ann@example.org", repeats=said)
    (example,) = build([row], "mask").examples
    assert example.repeats == (example.answer,)
    assert "ann" not in example.repeats[0]
