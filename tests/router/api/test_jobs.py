"""Fine-tuning jobs through OpenAI's client, a real server and its real trainer."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.fine_tuning import FineTuningJob

from distill.registry import UntestedError, promote
from policies.promise import Promise
from telemetry import jobs
from telemetry.store import Store
from tests.distill.synthetic import exchanges, messages, stream
from tests.router.api.test_files import jsonl
from tests.router.conftest import teacher_flags
from tests.router.server import Server, children, eventually
from tests.router.upstream import StubUpstream

LEARNT = "support"
LONG = "long"
"""A task with so many answers that a run takes a while."""
WAIT_S = 60.0
PROMISE = Promise(0.05, 0.05)


@pytest.fixture(scope="module")
def learning(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server whose loop begins nothing by itself."""
    folder = tmp_path_factory.mktemp("learning")
    config = folder / "protege.yaml"
    # No audit: what the teacher says would be one more answer to learn from.
    loop = "loop: {encoder: null, first: 1000000, rollout: {canary: 0}}"
    config.write_text(f"policy: {{audit_rate: 0.000001}}\n{loop}")
    store = Store(folder / "data")
    store.write(exchanges(stream(300), LEARNT) + exchanges(stream(1500, noise=0.1), LONG))
    store.close()
    flags = (*teacher_flags(shared_upstream), "--config", str(config))
    with Server(folder / "data", *flags) as server:
        yield server


def over(client: openai.OpenAI, identifier: str) -> FineTuningJob:
    """The job, once it is over."""
    jobs = client.fine_tuning.jobs
    done = ("succeeded", "failed", "cancelled")
    assert eventually(lambda: jobs.retrieve(identifier).status in done, WAIT_S)
    return jobs.retrieve(identifier)


def started(client: openai.OpenAI, task: str, file: str = "log", **more: Any) -> FineTuningJob:
    wanted = {"model": "auto", "training_file": file, "metadata": {"task": task}, **more}
    return client.fine_tuning.jobs.create(**wanted)


def seed_file(client: openai.OpenAI, count: int = 200) -> str:
    """A file of examples, by its id."""
    lines = [
        {"messages": [*messages(text), {"role": "assistant", "content": answer}]}
        for text, answer in stream(count, seed=1)
    ]
    return client.files.create(file=("seed.jsonl", jsonl(*lines)), purpose="fine-tune").id


def words(client: openai.OpenAI, identifier: str) -> list[str]:
    """What happened to a job, the first first."""
    return [event.message for event in client.fine_tuning.jobs.list_events(identifier)][::-1]


def test_a_job_makes_a_student_that_serves(learning: Server) -> None:
    client = learning.client()
    job = started(client, LEARNT, seed=7, method={"type": "supervised"})
    assert (job.object, job.training_file, job.seed) == ("fine_tuning.job", "log", 7)
    assert job.fine_tuned_model is None
    job = over(client, job.id)
    assert job.status == "succeeded", job.error
    assert job.fine_tuned_model is not None
    assert job.fine_tuned_model.startswith(LEARNT)
    assert job.finished_at is not None

    said = words(client, job.id)
    assert said[0] == "Created on the task's answers alone."
    assert said[1] == "Training on 300 answers, 300 of them evidence."
    assert said[-1].startswith(f"{job.fine_tuned_model} was promoted: ")
    (figures,) = [e for e in client.fine_tuning.jobs.list_events(job.id) if e.type == "metrics"]
    assert figures.data is not None
    assert figures.data["evidence"] == 300  # type: ignore[index]

    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert checkpoint.fine_tuned_model_checkpoint == job.fine_tuned_model
    assert checkpoint.fine_tuning_job_id == job.id
    assert checkpoint.metrics.full_valid_mean_token_accuracy is not None
    assert checkpoint.metrics.full_valid_mean_token_accuracy > 0.9

    def served() -> bool:
        try:
            answer = client.chat.completions.create(
                model="student",
                messages=messages("our invoice and refund please"),  # type: ignore[arg-type]
                metadata={"task": LEARNT},
            )
        except openai.NotFoundError:
            return False
        return answer.model == job.fine_tuned_model

    assert eventually(served)

    again = over(client, started(client, LEARNT).id)
    assert (again.status, again.fine_tuned_model) == ("succeeded", job.fine_tuned_model)
    assert f"{job.fine_tuned_model} has been trained on these answers already." in words(
        client, again.id
    )


def test_examples_of_a_file_teach_but_are_no_evidence(learning: Server) -> None:
    client = learning.client()
    file = seed_file(client)
    job = over(client, started(client, "seeded", file, model="ngrams").id)
    assert job.status == "succeeded", job.error
    assert job.training_file == file
    said = words(client, job.id)
    assert said[0] == f"Added 200 of the 200 examples of {file} to the task's answers."
    assert said[1] == "Training on 200 answers, 0 of them evidence."
    assert "does not serve: no evidence: the teacher has answered no request" in said[-1]
    assert "Imported examples are no evidence" in said[-1]
    store = learning.store()
    assert all(student.task != "seeded" for student in store.roster.serving())
    assert store.task_use("seeded", 0.0) is None
    (student,) = store.roster.students("seeded")
    assert student.version == job.fine_tuned_model
    # A person may still insist on it.
    with pytest.raises(UntestedError):
        promote(store, student.version, "for a try", PROMISE)
    promote(store, student.version, "for a try", PROMISE, force=True)

    more = started(client, "seeded", file, model="ngrams")
    assert words(client, more.id)[0].startswith("Added 0 of the 200 examples")
    over(client, more.id)
    # After a demotion the examples count no more, until they are given again.
    assert store.roster.demote("seeded", student.version, "it was a try", time.time())
    again = started(client, "seeded", file, model="ngrams")
    assert words(client, again.id)[0].startswith("Added 200 of the 200 examples")
    assert store.teacher_answer_counts()["seeded"] == 200
    store.close()


def test_a_task_that_cannot_be_learnt_fails_its_job(learning: Server) -> None:
    client = learning.client()
    store = learning.store()
    store.write(exchanges([(f"write {n}", f"poem {n} of its own") for n in range(50)], "poems"))
    store.close()
    job = over(client, started(client, "poems").id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.message == "the answers are not from a small closed set"
    assert job.fine_tuned_model is None
    assert list(client.fine_tuning.jobs.checkpoints.list(job.id)) == []
    assert next(iter(client.fine_tuning.jobs.list_events(job.id))).level == "error"


def test_a_job_outlives_its_trainer(learning: Server) -> None:
    client = learning.client()
    job = started(client, LONG)

    def trainer() -> list[int]:
        found = children(learning.process.pid)
        return [child.pid for child in found if "distill.trainer" in child.command]

    assert eventually(lambda: any("Training" in said for said in words(client, job.id)), WAIT_S)
    (pid,) = trainer()
    os.kill(pid, signal.SIGSTOP)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    os.kill(pid, signal.SIGKILL)
    assert over(client, job.id).status == "succeeded"
    store = learning.store()
    done = jobs.find(store.engine, job.id)
    store.close()
    assert done is not None
    assert done.attempts == 2


# Without a trainer


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    """Of a server whose loop does not run."""
    with server.client() as client:
        yield client


def test_a_job_is_cancelled(client: openai.OpenAI) -> None:
    job = started(client, "any")
    assert job.status == "queued"
    cancelled = client.fine_tuning.jobs.cancel(job.id)
    assert cancelled.status == "cancelled"
    assert cancelled.finished_at is not None
    assert words(client, job.id)[-1] == "The job was cancelled."
    with pytest.raises(openai.BadRequestError, match="cancelled already"):
        client.fine_tuning.jobs.cancel(job.id)


def test_lists_are_read_page_by_page_and_by_metadata(client: openai.OpenAI) -> None:
    tag = f"{time.time()}"
    made = [
        started(client, "any", metadata={"task": "any", "tag": tag, "half": str(n % 2)}).id
        for n in range(5)
    ]
    listed = client.fine_tuning.jobs.list(metadata={"tag": tag}, limit=2)
    assert [job.id for job in listed] == made[::-1]
    half = client.fine_tuning.jobs.list(metadata={"tag": tag, "half": "1"})
    assert [job.id for job in half] == [made[3], made[1]]
    client.fine_tuning.jobs.cancel(made[0])
    assert len(list(client.fine_tuning.jobs.list_events(made[0], limit=1))) == 2


def test_the_task_is_the_suffix_where_nothing_else_names_it(client: openai.OpenAI) -> None:
    job = client.fine_tuning.jobs.create(model="auto", training_file="log", suffix="triage")
    assert job.to_dict()["task"] == "triage"
    assert job.to_dict()["origin"] == "caller"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"model": "gpt-5.4-mini"}, "model"),
        ({"model": None}, "model"),
        ({"training_file": None}, "training_file"),
        ({"metadata": {}}, "metadata.task"),
        ({"metadata": {"task": "a\0b"}}, "metadata.task"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"hyperparameters": {"n_epochs": 3}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"beta": "auto"}}, "beta"),
        ({"method": {"type": "dpo"}}, "method.type"),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}}},
            "method.supervised.hyperparameters.n_epochs",
        ),
        ({"method": {"supervised": 1}}, "method.supervised"),
        ({"validation_file": "file-1"}, "validation_file"),
        ({"integrations": [{"type": "wandb"}]}, "integrations"),
        ({"nothing": 1}, "nothing"),
    ],
)
def test_what_means_nothing_here_is_refused(
    server: Server, wrong: dict[str, Any], param: str
) -> None:
    body = {"model": "auto", "training_file": "log", "metadata": {"task": "any"}, **wrong}
    answer = httpx.post(f"{server.url}/fine_tuning/jobs", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_what_does_not_exist_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        started(client, "any", "file-none")
    assert raised.value.param == "training_file"
    for call in (
        client.fine_tuning.jobs.retrieve,
        client.fine_tuning.jobs.cancel,
        client.fine_tuning.jobs.list_events,
        client.fine_tuning.jobs.checkpoints.list,
    ):
        with pytest.raises(openai.NotFoundError, match="ftjob-none"):
            call("ftjob-none")
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.list(after="ftjob-none")
    with pytest.raises(openai.BadRequestError):
        client.fine_tuning.jobs.list_events(started(client, "any").id, after="ftevent-x")
