"""How much each teacher answer counts once students have served."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from config.settings import PolicySettings
from distill.data import reach
from distill.data.dataset import build
from distill.data.reach import Former, weighted
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from distill.runs.run import Run
from distill.students.ladder import Ladder
from distill.students.text.rung import TextRung
from telemetry.exchange import Exchange, TaskState
from telemetry.turnout import Turnout
from tests.distill.synthetic import exchange, exchanges, stream

AUDITED = 0.1


@pytest.fixture(scope="module")
def before() -> list[Exchange]:
    """Answers from before there was a student: some kinds of requests it cannot learn."""
    return exchanges([*stream(300), *_strange(100, 0)])


@pytest.fixture(scope="module")
def run(before: list[Exchange]) -> Run:
    data = build(before)
    made = retrain(Challenge("first", data, TaskState("support"), PolicySettings()))
    assert made.ladder is not None
    assert 0.5 < made.verdict.share < 0.9
    return made


def _strange(count: int, seed: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    words = ["odd", "strange", "matter", "weird", "thing"]
    return [
        (" ".join(rng.sample(words, 3)) + f" {seed}{i}", rng.choice(["billing", "outage"]))
        for i in range(count)
    ]


def _served(ladder: Ladder, count: int) -> tuple[list[Exchange], Turnout]:
    """The teacher's part of ``count`` requests after the ladder's promotion."""
    rng = random.Random(7)
    pairs = [*stream(count * 3 // 4, seed=1), *_strange(count // 4, 1)]
    heard: list[Exchange] = []
    turnout = Turnout()
    said = ladder.predict([text for text, _ in pairs])
    for i, ((text, answer), prediction) in enumerate(zip(pairs, said, strict=True)):
        sure = prediction.confidence >= ladder.threshold
        turnout += Turnout(1, AUDITED, 0, 0.0) if sure else Turnout(0, 0.0, 1, 1.0)
        if sure and rng.random() >= AUDITED:
            continue
        heard.append(
            exchange(
                1000 + i,
                text,
                answer,
                route="student" if sure else "teacher",
                student=ladder.version,
                confidence=prediction.confidence,
                propensity=AUDITED if sure else 1.0,
            )
        )
    return heard, turnout


def _former(run: Run, turnout: Turnout, heard: list[Exchange]) -> Former:
    former = Former(cast(Ladder, run.ladder), dict(run.sure), turnout)
    former.recall(heard)
    return former


def test_answers_that_are_alike_count_alike_whenever_they_were_given(
    before: list[Exchange], run: Run
) -> None:
    ladder = cast(Ladder, run.ladder)
    heard, turnout = _served(ladder, 800)
    data = build([*before, *heard])
    after = weighted(data, [_former(run, turnout, heard)], len(before))
    assert after.even
    asked_always = len(before) + turnout.sure + turnout.unsure
    asked_seldom = len(before) + (turnout.sure + turnout.unsure) * AUDITED
    sure = {one.id: cast(float, one.confidence) >= ladder.threshold for one in heard}
    sure |= run.sure
    for example in after.examples:
        reached = asked_seldom if sure[example.id] else asked_always
        assert example.weight == pytest.approx(1200 / reached)
    # As many as there were requests, as nearly as so few audits tell.
    assert sum(example.weight for example in after.examples) == pytest.approx(1200, rel=0.1)
    # By the time of each answer alone, audits count several times as much.
    assert max(example.weight for example in data.examples) == 1 / AUDITED
    assert max(example.weight for example in after.examples) < 0.3 / AUDITED
    assert after.version == data.version


def test_a_student_that_cannot_be_asked_leaves_weights_as_they_are(
    before: list[Exchange], run: Run
) -> None:
    heard, turnout = _served(cast(Ladder, run.ladder), 80)
    writes = replace(cast(Ladder, run.ladder), rungs=(cast(TextRung, object()),))
    data = build([*before, *heard])
    known = dict.fromkeys([example.id for example in data.examples], True)
    assert weighted(data, [Former(writes, dict(known), turnout)], 400).even
    known.pop(heard[0].id)
    assert weighted(data, [Former(writes, dict(known), turnout)], 400) == data
    assert weighted(data, [], 400) == data


def test_what_is_too_old_to_be_read_is_forgotten(before: list[Exchange], run: Run) -> None:
    former = _former(run, Turnout(), [])
    former.forget_others(before[-100:])
    assert former.sure == {each.id: run.sure[each.id] for each in before[-100:]}


def test_what_counts_for_nothing_goes_on_counting_for_nothing(
    before: list[Exchange], run: Run
) -> None:
    imported = exchange(5000, "an invoice that nobody asked about", "billing", route="imported")
    data = build([*before, imported])
    after = weighted(data, [_former(run, Turnout(sure=10, sure_asked=1), [])], len(before))
    assert [one.weight for one in after.examples if one.id == imported.id] == [0.0]


def test_estimates_are_unbiased() -> None:
    """Over many histories of two students, of a rate that differs where they are sure."""
    rng = np.random.default_rng(2)
    wrong = np.array([0.02, 0.1, 0.4])
    kinds, sure = np.array([0.5, 0.3, 0.2]), np.array([[0, 1, 1], [0, 0, 1]]) == 0
    found = []
    for _ in range(400):
        requests = [rng.choice(3, size, p=kinds) for size in (100, 200, 300)]
        asked = [np.ones(3), *np.where(sure, AUDITED, 1.0)]
        heard = [
            kind[rng.random(len(kind)) < chance[kind]]
            for kind, chance in zip(requests, asked, strict=True)
        ]
        reached = 100 * asked[0] + 200 * asked[1] + 300 * asked[2]
        kinds_heard = np.concatenate(heard)
        errors = rng.random(len(kinds_heard)) < wrong[kinds_heard]
        found.append((errors * (600 / reached)[kinds_heard]).sum() / 600)
    assert np.mean(found) == pytest.approx(kinds @ wrong, abs=4 * np.std(found) / 20)


def test_what_a_student_would_have_answered_is_kept(tmp_path: Path, run: Run) -> None:
    reach.save(tmp_path, run.sure)
    assert reach.load(tmp_path) == run.sure
    reach.save(tmp_path, {})
    assert reach.load(tmp_path) == {}
