"""Fine-tuning by the provider: a task's answers go there, and a model of their own comes back.

OpenAI's fine-tuning API (https://platform.openai.com/docs/api-reference/fine-tuning), spoken by its
own client: ``POST /v1/files``, ``POST /v1/fine_tuning/jobs``, then the job and its events until it
is over. What is known of it is written down before and after each of these, so that whoever was
killed goes on where it was, and no job is begun, and paid for, twice.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import openai
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

LEAST_EXAMPLES = 10
"""Fewer are refused by the provider."""

_STATE = "tuning.json"
EXAMPLES = "examples.jsonl"
"""What is uploaded."""

_OVER = ("succeeded", "failed", "cancelled")
_PAGE = 100

_log = logging.getLogger(__name__)

Tell = Callable[[str], None]


class TuningError(Exception):
    """The provider did not make a model. In one line."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done."""

    task: str
    base: str
    """The model that is fine-tuned."""
    epochs: int
    suffix: str
    """Part of the new model's name."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """A plan, and how far it has come."""

    plan: Plan
    file: str | None = None
    """The provider's id of the examples,"""
    job: str | None = None
    """and of the job."""

    @classmethod
    def load(cls, folder: Path) -> Tuning | None:
        """What is under way in ``folder``; None where nothing is."""
        try:
            kept = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return cls(Plan(**kept["plan"]), kept["file"], kept["job"])

    def save(self, folder: Path) -> None:
        partial = folder / f".{_STATE}"
        partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
        partial.replace(folder / _STATE)

    def forget(self, folder: Path) -> None:
        """Nothing is under way any more."""
        (folder / _STATE).unlink(missing_ok=True)
        (folder / EXAMPLES).unlink(missing_ok=True)


def cost(tokens: int, epochs: int, usd_per_million: float) -> float:
    """USD for examples of so many tokens, each read so often.

    >>> cost(200_000, 3, 3.0)
    1.8
    """
    return tokens * epochs * usd_per_million / 1e6


def run(
    client: openai.OpenAI, tuning: Tuning, folder: Path, tell: Tell, poll_s: float
) -> FineTuningJob:
    """Begin or go on, and wait for the end; ``tell`` is told what happens.

    ``folder`` holds ``EXAMPLES`` and what is known. Raises TuningError where the job failed or was
    cancelled, so that the next one begins anew, or where the provider refuses.
    """
    try:
        tuning = _begun(client, tuning, folder, tell)
        assert tuning.job is not None, "what has begun has a job"
        job = _waited(client, tuning.job, tell, poll_s)
    except openai.OpenAIError as error:
        raise TuningError(f"the provider refuses: {_words(error)}") from error
    tuning.forget(folder)
    if job.status != "succeeded" or job.fine_tuned_model is None:
        why = job.error.message if job.error and job.error.message else job.status
        raise TuningError(f"job {job.id} made no model: {' '.join(why.split())}")
    return job


def cancel(client: openai.OpenAI, tuning: Tuning, folder: Path) -> None:
    """Stop the job, if there is one, and forget it. Raises TuningError."""
    try:
        found = tuning.job or (tuning.file and _job_of(client, tuning.file))
        if found and client.fine_tuning.jobs.retrieve(found).status not in _OVER:
            client.fine_tuning.jobs.cancel(found)
    except openai.OpenAIError as error:
        raise TuningError(f"the provider refuses: {_words(error)}") from error
    tuning.forget(folder)


def _begun(client: openai.OpenAI, tuning: Tuning, folder: Path, tell: Tell) -> Tuning:
    """The tuning with its examples uploaded and its job created."""
    tuning.save(folder)
    if tuning.file is None:
        with (folder / EXAMPLES).open("rb") as examples:
            uploaded = client.files.create(file=examples, purpose="fine-tune")
        tuning = replace(tuning, file=uploaded.id)
        tuning.save(folder)
        # The texts are the store's, where they can be forgotten.
        (folder / EXAMPLES).unlink()
        tell(f"The examples are uploaded as {uploaded.id}.")
    assert tuning.file is not None, "it has been uploaded"
    if tuning.job is None:
        # It may have been created by one that was killed before it could write that down.
        found = _job_of(client, tuning.file) or _create(client, tuning.plan, tuning.file)
        tuning = replace(tuning, job=found)
        tuning.save(folder)
    tell(f"Job {tuning.job} is under way.")
    return tuning


def _create(client: openai.OpenAI, plan: Plan, file: str) -> str:
    supervised = {"hyperparameters": {"n_epochs": plan.epochs}}
    # A repeated call would be a second job to pay for: whoever fails here looks for it next time.
    job = client.with_options(max_retries=0).fine_tuning.jobs.create(
        model=plan.base,
        training_file=file,
        suffix=plan.suffix,
        method={"type": "supervised", "supervised": supervised},  # type: ignore[arg-type]
    )
    return job.id


def _job_of(client: openai.OpenAI, file: str) -> str | None:
    """The job that learns from a file, if there is one."""
    jobs = client.fine_tuning.jobs.list(limit=_PAGE)
    return next((job.id for job in jobs if job.training_file == file), None)


def _waited(client: openai.OpenAI, identifier: str, tell: Tell, poll_s: float) -> FineTuningJob:
    """The job when it is over."""
    told: set[str] = set()
    while True:
        try:
            job = client.fine_tuning.jobs.retrieve(identifier)
            for event in _news(client, identifier, told):
                tell(event.message)
        except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError) as e:
            # The job goes on whether anybody looks or not.
            _log.warning("the job cannot be seen: %s", _words(e))
        else:
            if job.status in _OVER:
                return job
        time.sleep(poll_s)


def _news(client: openai.OpenAI, identifier: str, told: set[str]) -> Iterator[FineTuningJobEvent]:
    """Events that nobody was told of, oldest first."""
    page = client.fine_tuning.jobs.list_events(identifier, limit=_PAGE).data
    for event in reversed(page):
        if event.id not in told:
            told.add(event.id)
            yield event


def _words(error: openai.OpenAIError) -> str:
    return " ".join(str(getattr(error, "message", error)).split())
