"""The survey's figures are the forecast's."""

from bench.survey import play
from config.loading import load
from router.demo.report import summarise
from router.demo.samples import Sample
from tests.distill.synthetic import messages, stream


def test_a_call_of_the_teacher_costs_one():
    samples = [Sample("support", tuple(messages(text)), answer) for text, answer in stream(400)]
    outcomes = play(samples, load(), None, seed=0)
    row = summarise(outcomes, ["support"]).tasks[0]
    assert row.student_answers > 0
    assert (row.student_agreement or 0) > 0.95
    calls = row.requests - row.student_answers
    audits = sum(outcome.cost for outcome in outcomes if outcome.route == "student")
    assert 0 < audits < row.student_answers
    assert sum(outcome.cost for outcome in outcomes) == calls + audits
