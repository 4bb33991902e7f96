"""Fine-tuning jobs, through every client."""

from __future__ import annotations

from tests.conformance.clients import Client

JOBS = "fine_tuning.jobs"


def test_the_life_of_a_job(client: Client) -> None:
    tag = {"task": "jobs", "made_by": client.name}
    wanted = {"model": "auto", "training_file": "log", "metadata": tag}
    made = [client.call(f"{JOBS}.create", **wanted)["id"] for _ in range(3)]
    listed = client.pages(f"{JOBS}.list", metadata=tag, limit=2)
    assert [job["id"] for job in listed] == made[::-1]

    job = client.call(f"{JOBS}.retrieve", made[0])
    assert (job["object"], job["status"], job["metadata"]) == ("fine_tuning.job", "queued", tag)
    assert client.call(f"{JOBS}.cancel", made[0])["status"] == "cancelled"
    assert client.refused(f"{JOBS}.cancel", made[0]).kind == "BadRequestError"
    events = client.pages(f"{JOBS}.list_events", made[0], limit=1)
    assert [event["level"] for event in events] == ["warn", "info"]
    assert client.pages(f"{JOBS}.checkpoints.list", made[0]) == []
    assert client.refused(f"{JOBS}.retrieve", "ftjob-none").kind == "NotFoundError"


def test_what_means_nothing_here_is_refused(client: Client) -> None:
    wanted = {"training_file": "log", "suffix": "jobs"}
    failure = client.refused(f"{JOBS}.create", model="gpt-5.4-mini", **wanted)
    assert (failure.kind, failure.param) == ("BadRequestError", "model")
    failure = client.refused(
        f"{JOBS}.create", model="auto", hyperparameters={"n_epochs": 3}, **wanted
    )
    assert failure.param == "hyperparameters.n_epochs"
