"""``/v1/fine_tuning/jobs``: training runs, in OpenAI's API
(https://platform.openai.com/docs/api-reference/fine-tuning).

A job is a run of the learning loop that somebody has asked for, ahead of the schedule. The runs
that the loop begins by itself are jobs too, and shown among them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import orjson
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response

from distill.card import Card
from router.api.files import found as found_file
from router.api.guarded import for_operators
from router.api.metadata import given_metadata, wanted_metadata
from router.api.wire import answered, limit_of, listing, object_of, text_of
from router.checks import Checks, check_given, is_mapping, is_text, refuse_others, require
from router.errors import InvalidRequestError, NotFoundError, UnsupportedError
from router.imports.imported import imported
from router.imports.training_file import read_pairs
from router.lookup import is_searchable
from telemetry import files, jobs
from telemetry.exchange import StudentRecord
from telemetry.jobs import Event, Job
from telemetry.store import Store

LOG = "log"
"""In the place of a training file: the task's own answers alone."""

_PATH = "/v1/fine_tuning/jobs"
_JOB = _PATH + "/{identifier}"

_AT_ONCE = 500
"""Examples that are written to the store in one transaction."""
_LONGEST_SUFFIX = 64
_MOST_SEED = 2**31 - 1
_AUTO = "auto"
_HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier")
_BASES = ("auto", "ngrams")
_EVENT = "ftevent-"

_CHECKS: Checks = {
    "training_file": (is_text, "the id of a file"),
    "model": (is_text, "a string"),
    "suffix": (
        lambda value: is_text(value) and 0 < len(value) <= _LONGEST_SUFFIX and is_searchable(value),
        f"a string of at most {_LONGEST_SUFFIX} characters",
    ),
    "seed": (
        lambda value: type(value) is int and 0 <= value <= _MOST_SEED,
        f"an integer from 0 to {_MOST_SEED}",
    ),
    "hyperparameters": (is_mapping, "an object"),
    "method": (is_mapping, "an object"),
    "metadata": (is_mapping, "an object"),
}


def add_jobs(app: FastAPI, store: Store) -> None:
    """With an admin's key, where there are keys."""
    engine = store.engine
    operators = for_operators()

    @operators.post(_PATH)
    async def create(request: Request) -> Response:
        job = _wanted(await object_of(request))
        if job.file is not None:
            await found_file(engine, job.file, "training_file")
        return answered(shown(await asyncio.to_thread(_begin, store, job)))

    @operators.get(_PATH)
    async def list_jobs(request: Request) -> Response:
        limit, after = limit_of(request.query_params), text_of(request.query_params, "after")
        pairs = wanted_metadata(request.query_params)
        last = None if after is None else await found(engine, after, "after")
        page = await asyncio.to_thread(jobs.page, engine, limit + 1, last, pairs)
        return listing([shown(job) for job in page], limit)

    @operators.get(_JOB)
    async def get(identifier: str, request: Request) -> Response:
        return answered(shown(await found(engine, identifier)))

    @operators.post(_JOB + "/cancel")
    async def cancel(identifier: str, request: Request) -> Response:
        job = await found(engine, identifier)
        if not await asyncio.to_thread(jobs.cancel, engine, job.id, time.time()):
            job = await found(engine, identifier)
            raise InvalidRequestError(f"The job '{job.id}' has {job.status} already.")
        return answered(shown(await found(engine, identifier)))

    @operators.get(_JOB + "/events")
    async def list_events(identifier: str, request: Request) -> Response:
        limit, before = limit_of(request.query_params), _event_before(request)
        job = await found(engine, identifier)
        page = await asyncio.to_thread(jobs.events, engine, job.id, limit + 1, before)
        return listing([_event(each) for each in page], limit)

    @operators.get(_JOB + "/checkpoints")
    async def list_checkpoints(identifier: str, request: Request) -> Response:
        limit = limit_of(request.query_params)
        after = text_of(request.query_params, "after")
        job = await found(engine, identifier)
        record = None
        if job.student is not None and after is None:
            record = await asyncio.to_thread(store.roster.student, job.student)
        return listing([_checkpoint(job, record)] if record else [], limit)

    app.router.routes.extend(operators.routes)


async def found(engine: Engine, identifier: str, param: str | None = None) -> Job:
    """The job of this id, which ``param`` names. Raises NotFoundError."""
    known = is_searchable(identifier)
    job = await asyncio.to_thread(jobs.find, engine, identifier) if known else None
    if job is None:
        raise NotFoundError(f"There is no fine-tuning job '{identifier}'.", param)
    return job


def shown(job: Job) -> dict[str, Any]:
    """A job as OpenAI's API shows it, and who began it for which task."""
    automatic = dict.fromkeys(_HYPERPARAMETERS, _AUTO)
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created),
        "finished_at": None if job.finished is None else int(job.finished),
        "estimated_finish": None,
        "status": job.status,
        "error": job.error and {"code": "no_student", "message": job.error, "param": None},
        "model": job.model,
        "fine_tuned_model": job.student,
        "training_file": job.file or LOG,
        "validation_file": None,
        "result_files": [],
        "trained_tokens": None,
        "hyperparameters": automatic,
        "method": {"type": "supervised", "supervised": {"hyperparameters": automatic}},
        "seed": job.seed,
        "user_provided_suffix": job.suffix,
        "metadata": orjson.loads(job.metadata),
        "organization_id": "protege",
        "integrations": [],
        "task": job.task,
        "origin": job.origin,
    }


def _begin(store: Store, job: Job) -> Job:
    """Let the task learn from the job's file too, and hand the job to the trainer. Blocks.

    Examples that are there already stay as they are, unless they teach no more.
    """
    message = "Created on the task's answers alone."
    if job.file is not None:
        pairs = read_pairs(files.content(store.engine, job.file) or b"")
        examples = [
            imported({"messages": pair.messages}, pair.answer, job.task, job.created)
            for pair in pairs
        ]
        epoch = store.roster.task_state(job.task).epoch
        added = sum(
            store.import_pairs(examples[start : start + _AT_ONCE], epoch)
            for start in range(0, len(examples), _AT_ONCE)
        )
        message = f"Added {added} of the {len(pairs)} examples of {job.file} to the task's answers."
    jobs.add(store.engine, job, message)
    return job


def _wanted(body: dict[str, Any]) -> Job:
    """The job that a request asks for. Raises InvalidRequestError."""
    check_given(body, _CHECKS)
    for name in ("validation_file", "integrations"):
        if body.pop(name, None):
            raise UnsupportedError(f"'{name}' is not supported: {_WHY_NOT[name]}.", name)
    refuse_others(body, _CHECKS)
    require(body, ("model", "training_file"))
    if body["model"] not in _BASES:
        raise InvalidRequestError(
            f"Invalid value for 'model': expected one of {', '.join(_BASES)}.", "model"
        )
    _check_hyperparameters(body.get("hyperparameters"), "hyperparameters")
    _check_method(body.get("method") or {})
    metadata = given_metadata({"metadata": body.get("metadata")})
    task = metadata.get("task") or body.get("suffix")
    if not task:
        raise InvalidRequestError(
            "Which task is it for? Name it in 'metadata.task' or 'suffix'.", "metadata.task"
        )
    job = Job(jobs.new_id(), time.time(), task, "caller", body["model"])
    file = None if body["training_file"] == LOG else body["training_file"]
    return replace(
        job,
        file=file,
        suffix=body.get("suffix"),
        seed=body.get("seed") or 0,
        metadata=orjson.dumps(metadata).decode(),
    )


_WHY_NOT = {
    "validation_file": "students are tested on answers of the teacher's to live requests",
    "integrations": "follow the job's events",
}


def _check_hyperparameters(given: Any, at: str) -> None:
    """Raises InvalidRequestError unless all of them are left to the trainer."""
    if given is None:
        return
    if not isinstance(given, dict):
        raise InvalidRequestError(f"Invalid value for '{at}': expected an object.", at)
    refuse_others(given, _HYPERPARAMETERS)
    for name, value in given.items():
        if value not in (None, _AUTO):
            why = "students set it by themselves: leave it out, or say 'auto'"
            raise UnsupportedError(f"'{at}.{name}' is not supported: {why}.", f"{at}.{name}")


def _check_method(method: dict[str, Any]) -> None:
    """Raises InvalidRequestError unless it is the supervised one."""
    kind = method.get("type", "supervised")
    if kind != "supervised":
        raise UnsupportedError(f"The method '{kind}' is not supported.", "method.type")
    refuse_others(method, ("type", "supervised"))
    details = method.get("supervised") or {}
    if not isinstance(details, dict):
        raise InvalidRequestError(
            "Invalid value for 'method.supervised': expected an object.", "method.supervised"
        )
    _check_hyperparameters(details.get("hyperparameters"), "method.supervised.hyperparameters")


def _event_before(request: Request) -> int | None:
    """Number of the event that a page of events comes after. Raises InvalidRequestError."""
    after = text_of(request.query_params, "after")
    if after is None:
        return None
    number = after.removeprefix(_EVENT)
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise InvalidRequestError(f"Nothing in this list has the id '{after}'.", "after")
    return int(number)


def _event(event: Event) -> dict[str, Any]:
    return {
        "id": f"{_EVENT}{event.id}",
        "object": "fine_tuning.job.event",
        "created_at": int(event.created),
        "level": event.level,
        "message": event.message,
        "type": "message" if event.data is None else "metrics",
        "data": event.data,
    }


def _checkpoint(job: Job, record: StudentRecord) -> dict[str, Any]:
    """The student that a job made. It is made in one step; what its gate measured is shown beside
    the one measure that OpenAI has a name for."""
    gate = Card.parse(record.card).gate
    wrong = gate.disagreement
    return {
        "id": f"ftckpt-{job.id.removeprefix('ftjob-')}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(record.created),
        "fine_tuned_model_checkpoint": record.version,
        "fine_tuning_job_id": job.id,
        "step_number": 1,
        "metrics": {
            "step": 1,
            "full_valid_mean_token_accuracy": None if wrong is None else 1 - wrong,
            "evidence": gate.evidence,
            "answered": gate.answered,
            "wrong": gate.wrong,
            "share": gate.share,
            "upper": gate.upper,
            "threshold": gate.threshold,
        },
    }
