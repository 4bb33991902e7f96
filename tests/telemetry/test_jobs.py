"""Jobs in both databases: whose they are, and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from telemetry import files, jobs
from telemetry.exchange import TaskState
from telemetry.jobs import CLAIM_S, MOST_ATTEMPTS, Job
from telemetry.store import Store


@pytest.fixture
def engine(tmp_path: Path, database: SecretStr | None) -> Iterator[Engine]:
    store = Store(tmp_path, database)
    yield store.engine
    store.close()


def wanted(engine: Engine, created: float = 1.0, metadata: str = "{}", *, task: str = "t") -> Job:
    job = Job(jobs.new_id(), created, task, "caller", metadata=metadata)
    jobs.add(engine, job, "created")
    return job


def status(engine: Engine, job: Job) -> str:
    found = jobs.find(engine, job.id)
    assert found is not None
    return found.status


def test_the_oldest_comes_first_and_to_one_trainer_alone(engine: Engine) -> None:
    second, first = wanted(engine, 2.0, task="b"), wanted(engine, 1.0, task="a")
    claimed = [jobs.claim(engine, 10.0) for _ in range(3)]
    assert [job and job.id for job in claimed] == [first.id, second.id, None]


def test_a_claim_that_is_renewed_holds(engine: Engine) -> None:
    wanted(engine)
    job = jobs.claim(engine, 10.0)
    assert job is not None
    assert jobs.renew(engine, job, 10.0 + CLAIM_S)
    assert jobs.claim(engine, 10.0 + 1.5 * CLAIM_S) is None
    taken = jobs.claim(engine, 10.0 + 2.5 * CLAIM_S)
    assert taken is not None
    assert (taken.id, taken.attempts) == (job.id, 2)
    # Whoever lost it has no say any more.
    assert not jobs.renew(engine, job, 100.0)
    assert not jobs.finish(engine, job, "failed", 100.0, error="slow")
    assert jobs.finish(engine, taken, "succeeded", 100.0, student="s")
    assert jobs.find(engine, job.id) == jobs.page(engine, 1, None, {})[0]
    assert status(engine, job) == "succeeded"


def test_a_job_that_no_trainer_survives_fails(engine: Engine) -> None:
    job = wanted(engine)
    for attempt in range(MOST_ATTEMPTS):
        assert jobs.claim(engine, attempt * 2 * CLAIM_S) is not None
    assert jobs.claim(engine, MOST_ATTEMPTS * 2 * CLAIM_S) is None
    assert status(engine, job) == "failed"


def test_the_loops_own_job_ends_with_its_trainer(engine: Engine) -> None:
    job = jobs.begin(engine, TaskState("t"), 10.0)
    assert job is not None
    assert jobs.claim(engine, 10.0) is None
    assert status(engine, job) == "running"
    assert jobs.claim(engine, 10.0 + 2 * CLAIM_S) is None
    assert status(engine, job) == "failed"


def test_a_task_is_one_trainers_at_a_time(engine: Engine) -> None:
    state = TaskState("t")
    assert jobs.begin(engine, state, 10.0) is not None
    assert jobs.begin(engine, state, 10.0 + CLAIM_S / 2) is None
    assert jobs.begin(engine, TaskState("other"), 10.0) is not None
    # Texts are learnt beside labels.
    assert jobs.begin(engine, state, 10.0, "text") is not None
    assert jobs.begin(engine, state, 11.0, "text") is None
    # Whoever was killed does not renew its claim.
    assert jobs.begin(engine, state, 10.0 + 2 * CLAIM_S) is not None


def test_what_somebody_has_asked_for_is_not_begun_beside_it(engine: Engine) -> None:
    wanted(engine)
    asked = jobs.claim(engine, 10.0)
    assert asked is not None
    assert jobs.begin(engine, TaskState("t"), 11.0) is None
    assert jobs.finish(engine, asked, "succeeded", 12.0, student="s")
    assert jobs.begin(engine, TaskState("t"), 13.0) is not None


def test_what_somebody_has_asked_for_waits_while_its_task_is_trained(engine: Engine) -> None:
    own = jobs.begin(engine, TaskState("t"), 10.0)
    assert own is not None
    asked, other = wanted(engine, 1.0), wanted(engine, 2.0, task="other")
    first = jobs.claim(engine, 11.0)
    assert first is not None
    assert first.id == other.id
    assert jobs.claim(engine, 11.0) is None
    assert status(engine, asked) == "queued"
    assert jobs.finish(engine, own, "succeeded", 12.0, student="s")
    second = jobs.claim(engine, 12.0)
    assert second is not None
    assert second.id == asked.id


def test_nobody_waits_for_a_trainer_that_was_killed(engine: Engine) -> None:
    own = jobs.begin(engine, TaskState("t"), 10.0)
    assert own is not None
    asked = wanted(engine)
    assert jobs.claim(engine, 10.0 + CLAIM_S) is None
    taken = jobs.claim(engine, 10.0 + CLAIM_S + 1)
    assert taken is not None
    assert taken.id == asked.id
    assert status(engine, own) == "failed"


def test_of_two_jobs_of_a_task_one_is_claimed_however_many_claim_at_once(engine: Engine) -> None:
    for n in range(4):
        wanted(engine, float(n))
    together, claimed = Barrier(4), []

    def claim() -> None:
        together.wait()
        claimed.append(jobs.claim(engine, 10.0))

    trainers = [Thread(target=claim) for _ in range(4)]
    for trainer in trainers:
        trainer.start()
    for trainer in trainers:
        trainer.join()
    assert len([job for job in claimed if job is not None]) == 1
    assert len(claimed) == 4


def test_texts_are_learnt_beside_what_somebody_has_asked_for(engine: Engine) -> None:
    assert jobs.begin(engine, TaskState("t"), 10.0, "text") is not None
    wanted(engine)
    assert jobs.claim(engine, 11.0) is not None


def test_a_trainer_that_looked_before_another_had_finished_begins_nothing(
    tmp_path: Path, database: SecretStr | None
) -> None:
    store = Store(tmp_path, database)
    looked = TaskState("t")
    job = jobs.begin(store.engine, looked, 10.0)
    assert job is not None
    store.roster.put_off("t", 200, 10.0, 12.0)
    assert jobs.finish(store.engine, job, "succeeded", 12.0, student="s")
    assert jobs.begin(store.engine, looked, 13.0) is None
    assert jobs.begin(store.engine, store.roster.task_states()["t"], 13.0) is not None
    store.close()


def test_a_cancelled_job_is_nobodys(engine: Engine) -> None:
    job = wanted(engine)
    claimed = jobs.claim(engine, 10.0)
    assert claimed is not None
    assert jobs.cancel(engine, job.id, 11.0)
    assert not jobs.renew(engine, claimed, 12.0)
    assert not jobs.finish(engine, claimed, "succeeded", 12.0, student="s")
    assert not jobs.cancel(engine, job.id, 13.0)
    assert jobs.claim(engine, 100.0) is None
    assert [event.message for event in jobs.events(engine, job.id, 9)] == [
        "The job was cancelled.",
        "created",
    ]


def test_pages_go_from_the_newest_on_and_keep_to_their_pairs(engine: Engine) -> None:
    old, tagged, new = (
        wanted(engine, 1.0),
        wanted(engine, 2.0, '{"a": "b"}'),
        wanted(engine, 3.0),
    )
    assert [job.id for job in jobs.page(engine, 2, None, {})] == [new.id, tagged.id]
    assert [job.id for job in jobs.page(engine, 9, tagged, {})] == [old.id]
    assert [job.id for job in jobs.page(engine, 9, None, {"a": "b"})] == [tagged.id]
    jobs.tell(engine, old, "figures", 5.0, data={"share": 0.5})
    newest, first = jobs.events(engine, old.id, 9)
    assert newest.data == {"share": 0.5}
    assert jobs.events(engine, old.id, 9, newest.id) == [first]
    jobs.discard(engine, old)
    assert jobs.find(engine, old.id) is None
    assert jobs.events(engine, old.id, 9) == []


def test_files_keep_every_byte(engine: Engine) -> None:
    content = bytes(range(256)) * 1000
    first, second = (files.add(engine, f"{n}.jsonl", content, 1.0 + n) for n in range(2))
    assert files.content(engine, first.id) == content
    assert files.page(engine, 1, None, newest_first=True) == [second]
    assert files.page(engine, 9, second, newest_first=True) == [first]
    assert files.page(engine, 9, first, newest_first=False) == [second]
    assert files.remove(engine, first.id)
    assert not files.remove(engine, first.id)
    assert files.content(engine, first.id) is None
