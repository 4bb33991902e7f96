"""A student's card as it is kept, and the cards of earlier versions."""

from __future__ import annotations

import json
import subprocess
import sys

from distill.card import (
    Card,
    Consistency,
    Expected,
    HostedTest,
    Latency,
    Learnt,
    Regressions,
    Report,
    SliceFigures,
    Verdict,
    as_written,
    placed_share,
)
from policies.promise import Promise
from telemetry.exchange import StudentRecord

FULL = Card(
    data=Learnt(
        version="d4ta",
        answers=300,
        evidence=280,
        from_="2026-01-01T00:00:00+00:00",
        until="2026-02-01T00:00:00+00:00",
        teachers={"gpt-5.4": 300},
        consistency=Consistency(10, 9, 0.9, 0.555, 0.9975),
        answers_by_label={"größer": 300},
        since=7.5,
        suspects=3,
    ),
    labels=("größer",),
    rungs=("ngram", "both"),
    gate=Verdict(True, "passed", 0.9, 280, 200, 2, 0.7, 0.04, 0.03, ("odd",), None, {"usual": 0.9}),
    promise=Promise(0.05, 0.05),
    hosted=HostedTest("gpt-5.4-mini", 500, 0.97, None, 0.6),
    again="v1",
    usage={"base": 20.0, "completion": {"größer": 2.0}},
    evaluation=Report(
        0.9,
        (SliceFigures("all", "all requests", 280, 1.0, 200, 2, 0.99, 0.96, 0.999, "kept"),),
        0.02,
        0.03,
        Regressions(1, 2, 3),
    ),
    latency=Latency(1.5, 2.5),
    training_s=3.25,
    expected=Expected(12.0, 0.001),
)

EARLY = json.dumps(
    {
        "data": {"version": "d4ta", "answers": 300},
        "labels": ["a", "b"],
        "gate": {"promoted": True, "reason": "passed", "threshold": 0.9, "held_out": 60},
    }
)
"""Of a version that knew less, and something that is not known any more."""


def record(card: str, *, serving: bool = True) -> StudentRecord:
    return StudentRecord("v", "task", 1.0, "", serving, "passed", card)


def test_a_card_is_read_as_it_was_written() -> None:
    assert Card.parse(FULL.text) == FULL
    assert Card.parse(Card().text) == Card()
    assert Card.parse(FULL.text).text == FULL.text


def test_the_names_in_its_json_are_what_others_read() -> None:
    told = json.loads(FULL.text)
    assert list(told) == [
        "data",
        "labels",
        "rungs",
        "gate",
        "promise",
        "hosted",
        "again",
        "usage",
        "evaluation",
        "latency",
        "training_s",
        "expected",
    ]
    assert told["data"]["from"] == "2026-01-01T00:00:00+00:00"
    assert list(told["data"])[-3:] == ["since", "suspects", "instructions"]
    assert told["gate"]["barred"] == ["odd"]
    assert "größer" in FULL.text


def test_the_card_of_an_earlier_version_is_read_and_shown_as_it_is() -> None:
    card = Card.parse(EARLY)
    assert (card.data.answers, card.data.since, card.gate.threshold) == (300, None, 0.9)
    assert (card.promise, card.again, card.training_s, card.slices) == (None, None, None, ())
    assert as_written(record(EARLY)) == json.loads(EARLY)
    assert Card.parse("{}") == Card()


def test_the_placed_student_that_answers_most_counts() -> None:
    cards = [Card(gate=Verdict(share=share)).text for share in (0.3, 0.6, 0.9)]
    students = [record(cards[0]), record(cards[1]), record(cards[2], serving=False)]
    assert placed_share(students) == 0.6
    assert placed_share(students[2:]) == 0.0


def test_a_server_reads_cards_without_libraries_of_numbers() -> None:
    code = "import sys, distill.card; distill.card.Card.parse('{}'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "scipy", "sklearn", "torch"} & set(done.stdout.split())
