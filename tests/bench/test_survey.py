"""The offline loop, on a task whose right figures are known."""

from random import Random

import pytest

from bench.survey import Play
from config.settings import load
from router.demo.report import summarise
from router.demo.samples import Sample
from tests.distill.synthetic import WORDS, messages, stream

TURNED = dict(zip(WORDS, [*list(WORDS)[1:], next(iter(WORDS))], strict=True))


def samples(pairs):
    return [Sample("support", tuple(messages(text)), answer) for text, answer in pairs]


def play(pairs):
    outcomes = Play(load(), None, Random(0)).run(samples(pairs))
    return outcomes, summarise(outcomes, ["support"]).tasks[0]


def test_it_serves_what_can_be_learnt():
    outcomes, row = play(stream(600))
    assert row.student_share > 0.4
    assert (row.student_agreement or 0) > 0.95
    # The first requests teach, and a share of the student's answers is audited.
    assert all(outcome.route == "teacher" for outcome in outcomes[:170])
    audits = sum(outcome.cost for outcome in outcomes if outcome.route == "student")
    assert audits / row.student_answers == pytest.approx(0.1, abs=0.06)


def test_it_serves_nothing_that_cannot_be_learnt():
    _, row = play(stream(600, noise=1.0))
    assert row.student_answers == 0


def test_a_teacher_that_changes_its_mind_gets_its_task_back():
    before = stream(500)
    after = [(text, TURNED[answer]) for text, answer in stream(300, seed=1)]
    outcomes, _ = play(before + after)
    assert any(outcome.route == "student" for outcome in outcomes[400:500])
    # Demoted after a few audits, of which one answer in ten gets one; then it is learnt afresh.
    first = load().loop.first
    assert any(
        all(outcome.route == "teacher" for outcome in outcomes[start : start + first])
        for start in range(501, 630)
    )
