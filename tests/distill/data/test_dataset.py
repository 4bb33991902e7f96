import dataclasses
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distill.data.dataset import build, common_head
from tests.distill.synthetic import exchange, exchanges, stream


def test_an_answer_stands_for_the_requests_that_went_without():
    rows = [
        exchange(0, "before any student", "billing"),
        exchange(1, "the student was unsure", "billing", sampled=False, propensity=1.0),
        exchange(2, "an audit", "billing", route="student", sampled=True, propensity=0.1),
        exchange(3, "put right by a person", "billing", route="student", sampled=False),
        exchange(4, "the audit said nothing", "no", route="student", audited=9.0, propensity=0.1),
    ]
    data = build(rows)
    assert [example.weight for example in data.examples] == [1.0, 1.0, 10.0, 0.0, 0.0]
    assert (len(data), data.evidence) == (5, 3)


def test_a_correction_is_learnt_and_what_the_teacher_said_is_evidence():
    audit: Any = {"route": "student", "propensity": 0.1, "right_answer": "outage"}
    rows = [
        exchange(0, "put right", "billing", right_answer="outage"),
        exchange(1, "cut off", "bill", finish_reason="length", right_answer="outage"),
        exchange(2, "an audit", "billing", agreed=True, **audit),
        exchange(3, "one that never came back", "", teacher_answer=None, **audit),
    ]
    data = build(rows)
    assert data.answers == ["outage"] * 4
    assert [example.weight for example in data.examples] == [1.0, 0.0, 10.0, 0.0]
    assert data.said == ["billing", "bill", "billing", "outage"]
    learnt = np.array([True, True, False, False])
    said = ["outage", "outage", "billing", "billing"]
    assert data.agreed(learnt, said).tolist() == [False, False, True, False]


def test_the_same_exchanges_give_the_same_version():
    rows = exchanges(stream(50))
    assert build(rows) == build(rows)
    assert build(rows).version != build(rows[1:]).version


def test_a_correction_gives_another_version():
    rows = exchanges(stream(50))
    corrected = dataclasses.replace(rows[0], right_answer="another")
    assert build([corrected, *rows[1:]]).version != build(rows).version


def test_the_most_frequent_wording_stands_for_an_answer():
    answers = ["Yes", "Yes", "Yes\n", "No"]
    rows = [exchange(i, f"text {i}", answer) for i, answer in enumerate(answers)]
    data = build(rows)
    assert sorted(e.answer for e in data.examples) == ["No", "Yes", "Yes", "Yes"]


def test_the_constant_beginning_is_left_out():
    head = "Decide if the two descriptions match.\n"
    rows = [exchange(i, f"{head}{word}", "Yes") for i, word in enumerate(["ab", "ac", "b"])]
    data = build(rows)
    assert data.head == head
    assert sorted(e.text for e in data.examples) == ["ab", "ac", "b"]


@given(st.lists(st.text(), min_size=1), st.text())
def test_the_head_is_shared_by_all(texts, head):
    texts = [head + text for text in texts]
    assert all(text.startswith(common_head(texts)) for text in texts)


def test_a_short_or_broken_beginning_is_no_head():
    assert common_head(["one two", "one three"]) == ""
    assert common_head(["a-very-long-single-word-1", "a-very-long-single-word-2"]) == ""
    assert common_head([]) == ""
