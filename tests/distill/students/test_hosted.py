"""Hosted models as students: what tryouts teach of them, and what they must save."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from config.settings import (
    HostedModelSettings,
    HostedSettings,
    LoopSettings,
    PolicySettings,
    RolloutSettings,
)
from distill.card import Card
from distill.data.dataset import Dataset, build
from distill.runs import hosted as hosted_run
from distill.runs.challenge import Challenge
from distill.runs.hosted import Evidence
from distill.runs.run import Run
from distill.students import hosted
from distill.students.hosted import HostedRung
from distill.students.ladder import Ladder
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from policies.calibration import attempt_delta
from telemetry import jobs, tryouts
from telemetry.exchange import Exchange, TaskState
from telemetry.store import Store
from telemetry.tryouts import Tryout
from tests.distill.synthetic import exchange, stream

MODEL = "gpt-5.4-mini"
TASK = "support"
TEACHER_COST = 1000
POLICY = PolicySettings(alpha=0.1)


def open_answers(count: int) -> list[Exchange]:
    """A task that no label student can learn: hardly an answer comes twice."""
    pairs = enumerate(stream(count))
    return [
        exchange(i, text, f"{label} {i}", teacher_cost=TEACHER_COST) for i, (text, label) in pairs
    ]


def closed_answers(count: int) -> list[Exchange]:
    pairs = enumerate(stream(count))
    return [exchange(i, text, label, teacher_cost=TEACHER_COST) for i, (text, label) in pairs]


def tried(exchanges: list[Exchange], *, cost: int = 100, chance: float = 1.0) -> dict[str, Tryout]:
    """A model that agrees on all but messages of outages."""
    return {
        one.id: Tryout(
            exchange=one.id,
            model=MODEL,
            created=one.created,
            task=TASK,
            agreed="outage" not in one.lesson,
            chance=chance,
            cost=cost,
            extra=True,
            latency_s=0.2,
        )
        for one in exchanges
    }


def evidence(made: dict[str, Tryout]) -> Evidence:
    return Evidence(MODEL, made, dict.fromkeys(made, TEACHER_COST))


def retrain(data: Dataset, made: dict[str, Tryout], champion: Ladder | None = None) -> Run | None:
    challenge = Challenge("v1", data, TaskState(TASK), POLICY, champion)
    return hosted_run.retrain(challenge, evidence(made))


@pytest.fixture(scope="module")
def answers() -> list[Exchange]:
    return open_answers(500)


@pytest.fixture(scope="module")
def data(answers: list[Exchange]) -> Dataset:
    return build(answers)


@pytest.fixture(scope="module")
def run(data: Dataset, answers: list[Exchange]) -> Run:
    made = retrain(data, tried(answers))
    assert made is not None
    return made


def test_what_people_put_right_is_no_evidence_for_what_stands_before_the_model() -> None:
    exchanges = closed_answers(500)
    corrected = [
        dataclasses.replace(one, right_answer="money") if one.teacher_answer == "billing" else one
        for one in exchanges
    ]
    rungs = []
    for each in (exchanges, corrected):
        agreeing = {
            name: dataclasses.replace(tryout, agreed=True)
            for name, tryout in tried(each, cost=900).items()
        }
        run = retrain(build(each), agreeing)
        assert run is not None
        assert run.verdict.promoted
        rungs.append(run.rungs)
    assert rungs == [("ngram", "hosted"), ("hosted",)]


def test_a_rung_says_whom_to_ask_and_how_sure_it_is(tmp_path: Path) -> None:
    texts, labels = zip(*stream(300), strict=True)
    agreed = np.array([label != "outage" for label in labels])
    trained = hosted.train(MODEL, texts, agreed, texts)
    assert trained.confidences[agreed].mean() > 0.8
    assert trained.confidences[~agreed].mean() < 0.4
    trained.rung.save(tmp_path)
    loaded = HostedRung.load(tmp_path)
    fresh = [text for text, _ in stream(20, seed=5)]
    assert loaded.predict(fresh) == trained.rung.predict(fresh)
    assert {one.asks for one in loaded.predict(fresh)} == {MODEL}
    assert loaded.predict([]) == []
    (strange,) = loaded.predict(["Ceci n'est pas du tout un message comme les autres, voyez-vous"])
    assert strange.confidence < 0.01


def test_a_model_earns_the_requests_that_it_answers_as_the_teacher_does(run: Run) -> None:
    verdict, ladder = run.verdict, run.ladder
    assert verdict.promoted, verdict.reason
    assert ladder is not None
    assert run.rungs == ("hosted",)
    assert ladder.hosted == MODEL
    assert 0.4 < verdict.share <= 0.75
    # Nine tenths of the cost of what it answers.
    assert ladder.worth == pytest.approx(0.9 * verdict.share)
    assert "saves" in verdict.reason
    assert run.hosted is not None
    assert run.hosted.model == MODEL
    assert run.hosted.cost_ratio == pytest.approx(0.1)
    assert run.hosted.tryouts == 500
    assert verdict.delta == attempt_delta(POLICY.delta, 1)
    assert run.report is not None
    assert run.latency is not None
    assert run.latency.p50_ms == pytest.approx(200)


def test_a_ladder_comes_back_from_its_files(run: Run, tmp_path: Path) -> None:
    assert run.ladder is not None
    run.ladder.save(tmp_path)
    loaded = Ladder.load(tmp_path)
    assert loaded.worth == run.ladder.worth
    assert loaded.hosted == MODEL
    texts = [text for text, _ in stream(10, seed=3)]
    assert loaded.predict(texts) == run.ladder.predict(texts)


def test_n_grams_answer_for_nothing_before_a_hosted_model_is_paid() -> None:
    exchanges = closed_answers(500)
    alone = retrain(build(exchanges), tried(exchanges, cost=900))
    assert alone is not None
    assert alone.ladder is not None
    assert alone.rungs == ("ngram", "hosted")
    assert alone.ladder.worth > alone.verdict.share * 0.5


def test_what_agrees_by_chance_earns_nothing(data: Dataset, answers: list[Exchange]) -> None:
    draw = random.Random(1)
    made = {
        name: dataclasses.replace(tryout, agreed=draw.random() < 0.7)
        for name, tryout in tried(answers).items()
    }
    run = retrain(data, made)
    assert run is not None
    assert not run.verdict.promoted


def test_a_test_counts_if_only_the_n_grams_before_the_model_were_worth_one() -> None:
    pairs = enumerate(stream(400, seed=6, noise=0.03))
    exchanges = [exchange(i, text, label, teacher_cost=TEACHER_COST) for i, (text, label) in pairs]
    draw = random.Random(6)
    made = {
        name: dataclasses.replace(tryout, agreed=draw.random() < 0.5)
        for name, tryout in tried(exchanges).items()
    }
    policy, state = PolicySettings(), TaskState(TASK)
    challenge = Challenge("v1", build(exchanges), state, policy)
    run = hosted_run.retrain(challenge, evidence(made))
    assert run is not None
    assert not run.verdict.promoted
    assert run.verdict.reason == "no threshold meets the bound"
    assert run.rungs == ("ngram", "hosted")
    assert run.verdict.delta == attempt_delta(policy.delta, 1)
    assert run.advance(state, 400, 1.0).attempts == 1


def test_a_model_that_saves_nothing_earns_nothing(data: Dataset, answers: list[Exchange]) -> None:
    run = retrain(data, tried(answers, cost=2 * TEACHER_COST))
    assert run is not None
    assert not run.verdict.promoted
    assert "of the teacher's cost" in run.verdict.reason


def test_what_saves_more_goes_on(run: Run, data: Dataset, answers: list[Exchange]) -> None:
    assert run.ladder is not None
    better = dataclasses.replace(run.ladder, saves=0.95)
    worse = dataclasses.replace(run.ladder, saves=0.05)
    lost = retrain(data, tried(answers), better)
    assert lost is not None
    assert not lost.verdict.promoted
    assert "the champion 95%" in lost.verdict.reason
    won = retrain(data, tried(answers), worse)
    assert won is not None
    assert won.verdict.promoted


def test_nothing_is_tested_on_too_few_tryouts(data: Dataset, answers: list[Exchange]) -> None:
    assert retrain(data, tried(answers[:40])) is None


def test_tryouts_count_for_the_requests_that_were_not_tried(
    data: Dataset, answers: list[Exchange]
) -> None:
    """Where the model fails was tried ten times as rarely, and must count ten times as much."""
    draw = random.Random(2)
    made = {}
    for name, tryout in tried(answers).items():
        chance = 1.0 if tryout.agreed else 0.5
        if draw.random() < chance:
            made[name] = dataclasses.replace(tryout, chance=chance)
    run = retrain(data, made)
    assert run is not None
    assert run.hosted is not None
    truth = np.mean([tryout.agreed for tryout in tried(answers).values()])
    assert run.hosted.agreed == pytest.approx(truth, abs=0.04)


def test_the_loop_trains_it_and_puts_it_into_service(
    answers: list[Exchange], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    store.write(answers, [], list(tried(answers, cost=100).values()))
    settings = TrainerSettings(
        data=tmp_path,
        policy=POLICY,
        # It has been in the shadow already.
        loop=LoopSettings(encoder=None, rollout=RolloutSettings(shadow=5, canary=0)),
        hosted=HostedSettings(models=[HostedModelSettings(model=MODEL)]),
    )
    Trainer(settings).run(lambda: bool(store.roster.serving()))
    (record,) = store.roster.serving()
    assert record.version.endswith("-gpt-5-4-mini")
    tested = Card.parse(record.card).hosted
    assert tested is not None
    assert tested.tryouts == 500
    assert not hosted_run.is_due(store.roster.students(TASK), MODEL, 700)
    assert hosted_run.is_due(store.roster.students(TASK), MODEL, 750)
    assert hosted_run.is_due(store.roster.students(TASK), "another", 1)
    assert not hosted_run.is_due([], MODEL, 0)
    (job,) = [job for job in jobs.page(store.engine, 10, None, {}) if job.student == record.version]
    assert (job.model, job.status) == ("hosted", "succeeded")
    assert tryouts.spent(store.engine, 0.0) == 500 * 100
    store.close()
