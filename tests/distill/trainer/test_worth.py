"""Training that cannot pay for itself is not begun."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from config.settings import LoopSettings, PolicySettings
from distill import registry
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from distill.trainer.worth import worth
from telemetry import jobs, runs
from telemetry.exchange import PICO
from telemetry.jobs import Job
from telemetry.runs import Left
from telemetry.schema import training_runs
from telemetry.store import Store
from tests.distill.synthetic import AT_ONCE, exchanges, stream

DEAR = 1e6
"""USD for an hour of a processor."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def pass_once(store: Store, usd_per_hour: float = DEAR) -> None:
    loop = LoopSettings(encoder=None, rollout=AT_ONCE)
    looks = iter([False])
    settings = TrainerSettings(
        data=store.data, policy=PolicySettings(), loop=loop, compute_usd_per_hour=usd_per_hour
    )
    Trainer(settings).run(lambda: next(looks, True))


def answered(store: Store, first: int, last: int, usd: float) -> None:
    """Let the teacher answer some more requests today, at so many USD each."""
    now = time.time()
    store.write(
        [
            replace(one, id=f"r{place}", created=now, cost=round(usd * PICO))
            for place, one in enumerate(exchanges(stream(last)))
            if place >= first
        ]
    )


def newest(store: Store) -> Job:
    return jobs.page(store.engine, 1, None, {})[0]


def test_what_is_left_for_a_month_against_the_time_it_takes() -> None:
    week = 7 * 86400.0
    worthy = worth(Left(700, 70 * PICO, 0.0), week, cpu_s=3600, price=PICO / 3600)
    assert (worthy.saving, worthy.cost, worthy.requests_per_day) == (300 * PICO, PICO, 100)
    assert worthy.pays
    assert worthy.in_words() == (
        "it could save at most 3e+02 USD in 30 days (100 requests a day that the teacher answers), "
        "and its training costs about 1 USD"
    )
    # A burst of an hour is not what every hour brings.
    assert worth(Left(10, PICO, 0.0), 3600.0, 1.0, 1.0).saving == 30 * PICO
    assert not worth(Left(0, 0, None), 0.0, 1.0, 1.0).pays
    assert worth(Left(0, 0, None), 0.0, 1.0, 0.0).pays


def test_a_run_that_cannot_pay_is_not_made_again(store: Store) -> None:
    answered(store, 0, 300, usd=0.0)
    pass_once(store)
    # What a first run costs is known once it has been made.
    (student,) = store.roster.serving()
    with store.engine.connect() as connection:
        run = connection.execute(select(training_runs)).one()
    assert run.model == "auto"
    assert 0 < run.cpu_s < run.seconds + 1
    assert run.cost == pytest.approx(run.cpu_s * DEAR * PICO / 3600, rel=1e-6)
    assert run.saving is None

    answered(store, 300, 500, usd=0.0)
    pass_once(store)
    assert [each.version for each in store.roster.students("support")] == [student.version]
    job = newest(store)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.startswith("not trained: it could save at most 0 USD in 30 days")
    # It is not looked at again until there is more to learn from.
    pass_once(store)
    assert newest(store) == job


def test_a_run_that_can_pay_is_made_and_says_what_was_expected(store: Store) -> None:
    answered(store, 0, 300, usd=100.0)
    pass_once(store)
    answered(store, 300, 500, usd=100.0)
    pass_once(store)
    *_, student = store.roster.students("support")
    told = registry.summary(student)
    assert told["expected_saving_usd"] == pytest.approx(500 * 100 * 30)
    assert 0 < told["expected_training_usd"] < told["expected_saving_usd"]
    said = [event.message for event in jobs.events(store.engine, newest(store).id, 9)]
    assert any(
        message.startswith("Expected: it could save at most 1.5e+06 USD") for message in said
    )
    with store.engine.connect() as connection:
        saving = select(training_runs.c.saving).order_by(training_runs.c.id.desc())
        assert connection.scalar(saving) == 500 * 100 * 30 * PICO


def test_what_somebody_asks_for_is_made_all_the_same(store: Store) -> None:
    answered(store, 0, 300, usd=0.0)
    pass_once(store)
    answered(store, 300, 500, usd=0.0)
    job = Job(jobs.new_id(), 1.0, "support", "caller")
    jobs.add(store.engine, job, "created")
    pass_once(store)
    assert len(store.roster.students("support")) == 2
    done = jobs.find(store.engine, job.id)
    assert done is not None
    assert done.status == "succeeded"


def test_where_computing_costs_nothing_all_is_trained(store: Store) -> None:
    answered(store, 0, 300, usd=0.0)
    pass_once(store, usd_per_hour=0.0)
    answered(store, 300, 500, usd=0.0)
    pass_once(store, usd_per_hour=0.0)
    assert len(store.roster.students("support")) == 2


def test_a_text_student_is_measured_apart(store: Store) -> None:
    for model, cpu_s in (("text", 600.0), ("auto", 2.0), ("auto", 3.0)):
        run = runs.TrainingRun("support", 1.0, 1.0, "kept", 9, model, cpu_s)
        runs.add(store.engine, run)
    assert runs.measured_cpu_s(store.engine, "support", "auto") == 3.0
    assert runs.measured_cpu_s(store.engine, "support", "text") == 600.0
    assert runs.measured_cpu_s(store.engine, "other", "text") is None
