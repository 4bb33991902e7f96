"""What becomes of a former teacher's answers."""

from dataclasses import replace
from typing import Any

from config.settings import PolicySettings
from distill.data.dataset import build
from distill.data.teachers import Teachers
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from telemetry.exchange import Exchange, TaskState
from tests.distill.synthetic import WORDS, exchange, exchanges, stream

TURNED = dict(zip(WORDS, [*list(WORDS)[1:], next(iter(WORDS))], strict=True))
OLD = exchanges(stream(400))


def newer(count: int) -> list[Exchange]:
    """Answers of another model, to which the labels mean something else."""
    return [
        exchange(400 + i, text, TURNED[answer], model="newer")
        for i, (text, answer) in enumerate(stream(count, seed=1))
    ]


def test_a_new_teachers_answers_are_the_ones_that_count() -> None:
    data = build(OLD + newer(300))
    assert (len(data), data.evidence) == (300, 300)
    assert data.dropped == {"teacher": 400}
    run = retrain(Challenge("v", data, TaskState("support"), PolicySettings()))
    assert run.verdict.promoted
    assert run.ladder is not None
    (said,) = run.ladder.predict(["please help with this refund of an invoice"])
    assert said.answer == TURNED["billing"]


def test_while_both_are_asked_both_count() -> None:
    assert len(build(OLD + newer(199))) == 599


def test_models_of_one_chain_are_one_teacher() -> None:
    rows = [replace(row, model="spare") if i % 20 == 0 else row for i, row in enumerate(OLD)]
    assert len(build(rows)) == 400
    # What a model said once, long ago, is nobody's loss.
    rare = [replace(OLD[0], model="spare"), *OLD[1:]]
    assert build(rare).dropped == {"teacher": 1}


def test_audits_are_whose_answers_their_time_says() -> None:
    audit: Any = {"route": "student", "model": "support-1", "propensity": 0.1, "sampled": True}
    before, after = (
        exchange(at, "an audit", "billing", id=f"audit-{at}", **audit) for at in (-1, 450)
    )
    rows = [before, *OLD, after]
    assert len(build(rows)) == 402
    data = build([before, *OLD, *newer(300), after])
    assert [each.id for each in data.examples if each.weight == 10] == [after.id]


def test_what_people_have_put_right_stays_and_is_no_evidence() -> None:
    right = replace(OLD[0], right_answer="outage")
    data = build([right, *OLD[1:], *newer(300)])
    (kept,) = (example for example in data.examples if example.id == right.id)
    assert (kept.answer, kept.weight) == ("outage", 0.0)
    seeds = [replace(row, route="imported", id=f"seed {row.id}") for row in OLD[:50]]
    assert (
        sum(example.id.startswith("seed") for example in build(seeds + newer(250)).examples) == 50
    )


def test_without_answers_of_a_teacher_nothing_is_anybodys() -> None:
    assert Teachers.of([]).gave(replace(OLD[0], route="student"))
