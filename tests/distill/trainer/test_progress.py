"""What a trainer does with jobs, its own and others'."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from config.settings import LoopSettings, PolicySettings
from distill.card import Card
from distill.runs import label
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from distill.trainer import retraining
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from telemetry import jobs, runs
from telemetry.jobs import Job
from telemetry.schema import jobs as table
from telemetry.store import Store
from tests.distill.synthetic import AT_ONCE, exchanges, stream


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def pass_once(store: Store) -> None:
    loop = LoopSettings(encoder=None, rollout=AT_ONCE)
    settings = TrainerSettings(data=store.data, policy=PolicySettings(), loop=loop)
    looks = iter([False])
    Trainer(settings).run(lambda: next(looks, True))


def test_the_loops_own_runs_are_jobs(store: Store) -> None:
    store.write(exchanges(stream(300)))
    pass_once(store)
    (student,) = store.roster.serving()
    (job,) = jobs.page(store.engine, 9, None, {})
    assert (job.origin, job.task, job.status) == ("loop", "support", "succeeded")
    assert job.student == student.version
    last, figures, *_ = jobs.events(store.engine, job.id, 9)
    assert last.message == f"{student.version} was promoted: {student.verdict}."
    assert figures.data is not None
    assert figures.data["answered"] > 0


def test_what_was_asked_for_goes_before_what_is_due(store: Store) -> None:
    store.write(exchanges(stream(300), "due") + exchanges(stream(40), "asked"))
    jobs.add(store.engine, Job(jobs.new_id(), 1.0, "asked", "caller", "ngrams"), "created")
    pass_once(store)
    (job,) = jobs.page(store.engine, 9, None, {})
    assert (job.task, job.finished is not None) == ("asked", True)


def test_a_run_that_breaks_is_a_job_that_failed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(label, "retrain", broken)
    store.write(exchanges(stream(300)))
    pass_once(store)
    (job,) = jobs.page(store.engine, 9, None, {})
    assert (job.status, job.error) == ("failed", "RuntimeError; the log says more")
    assert [tally.outcome for tally in runs.tallies(store.engine)] == ["failed"]


def test_what_is_cancelled_while_it_trains_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(*arguments: Any, **options: Any) -> Any:
        (job,) = jobs.page(store.engine, 9, None, {})
        assert jobs.cancel(store.engine, job.id, time.time())
        return retrain(*arguments, **options)

    monkeypatch.setattr(label, "retrain", cancelled)
    store.write(exchanges(stream(300)))
    pass_once(store)
    (job,) = jobs.page(store.engine, 9, None, {})
    assert (job.status, job.student) == ("cancelled", None)
    assert store.roster.every_student() == []
    assert runs.tallies(store.engine) == []
    # It is not begun again before there are more answers.
    pass_once(store)
    assert len(jobs.page(store.engine, 9, None, {})) == 1


def test_two_trainers_of_a_store_share_what_is_due(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one trains, another looks for work twice."""
    store.write(exchanges(stream(400), "first") + exchanges(stream(300), "second"))
    trained = []

    def beside(challenge: Challenge, *arguments: Any, **options: Any) -> Any:
        trained.append(challenge.task)
        if len(trained) == 1:
            pass_once(store)
            pass_once(store)
        return retrain(challenge, *arguments, **options)

    monkeypatch.setattr(label, "retrain", beside)
    pass_once(store)
    assert trained == ["first", "second"]
    assert len(jobs.page(store.engine, 9, None, {})) == 2


def test_what_is_asked_for_waits_for_the_loops_own_run_of_the_task(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def beside(challenge: Challenge, *arguments: Any, **options: Any) -> Any:
        trained.append(challenge.task)
        if len(trained) == 1:
            jobs.add(store.engine, Job("ftjob-asked", 1.0, challenge.task, "caller"), "created")
            pass_once(store)
        return retrain(challenge, *arguments, **options)

    monkeypatch.setattr(label, "retrain", beside)
    store.write(exchanges(stream(300)))
    pass_once(store)
    asked = jobs.find(store.engine, "ftjob-asked")
    assert asked is not None
    assert (trained, asked.status) == (["support"], "queued")
    (student,) = store.roster.serving()
    # Then it finds that the same answers were learnt.
    pass_once(store)
    asked = jobs.find(store.engine, "ftjob-asked")
    assert asked is not None
    assert (trained, asked.status, asked.student) == (["support"], "succeeded", student.version)
    assert store.roster.every_student() == [student]


def test_a_run_that_another_has_overtaken_leaves_its_student_as_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer that slept until another had its task goes on where it was: about to register."""
    card = retraining._card
    slept: list[bool] = []
    files: dict[str, tuple[int, int]] = {}

    def late(*arguments: Any) -> Card:
        if not slept:
            slept.append(True)
            # Its claim may be renewed just then: it has not really slept.
            while not store.roster.serving():
                with store.engine.begin() as connection:
                    connection.execute(update(table).values(claimed_until=0.0))
                pass_once(store)
            (made,) = store.roster.serving()
            files.update(written(store.data / made.path))
        return card(*arguments)

    monkeypatch.setattr(retraining, "_card", late)
    store.write(exchanges(stream(300)))
    pass_once(store)
    (student,) = store.roster.serving()
    assert store.roster.every_student() == [student]
    assert "ladder.json" in files
    assert written(store.data / student.path) == files
    assert [folder.name for folder in (store.data / "students").iterdir()] == [student.version]
    assert {tally.outcome for tally in runs.tallies(store.engine)} == {"kept", "promoted"}
    # The time to learn more has not come for that.
    pass_once(store)
    assert len(jobs.page(store.engine, 9, None, {})) == 2


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """When each of the files there was last written, and where it lies."""
    return {file.name: (file.stat().st_mtime_ns, file.stat().st_ino) for file in folder.iterdir()}
