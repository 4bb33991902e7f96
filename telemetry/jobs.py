"""Training jobs: those that somebody has asked for, those that the loop has begun by itself, what
happened to each, and their tables. All functions block; times are Unix times in seconds.

A job belongs to the trainer that has claimed it for as long as that renews its claim. So one whose
trainer was killed is taken up by the next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from secrets import token_hex
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    delete,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from telemetry.exchange import TaskState
from telemetry.pairs import has_pair
from telemetry.schema import job_events, jobs
from telemetry.states import locked

Origin = Literal["caller", "loop"]
"""Who began it."""

Base = Literal["auto", "ngrams", "text", "retest", "hosted", "encoder"]
"""What students are made of: whichever labels serve the most, labels told by n-grams alone, a
language model, one that is only put to the test again, or a provider's. Of ``encoder`` no student
is made, but what those of labels read.
"""

ASIDE = ("text", "encoder")
"""What takes so long that the task's other jobs are not to wait for it."""

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Level = Literal["info", "warn", "error"]

CLAIM_S = 10.0
"""How long a claim holds that is not renewed."""

MOST_ATTEMPTS = 3
"""A job that so many trainers did not survive is not taken up again."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training run, wanted, under way or over."""

    id: str
    """``ftjob-`` and 24 hexadecimal digits."""
    created: float
    task: str
    origin: Origin
    model: Base = "auto"
    file: str | None = None
    """Id of the file whose examples are to be learnt as well."""
    suffix: str | None = None
    """The caller's."""
    seed: int = 0
    """The caller's."""
    metadata: str = "{}"
    """The caller's, as JSON of an object of strings."""
    status: Status = "queued"
    attempts: int = 0
    """How often a trainer has begun with it."""
    claim: str | None = None
    """Token of the trainer whose it is."""
    claimed_until: float | None = None
    finished: float | None = None
    student: str | None = None
    """Version of the student that came of it."""
    error: str | None = None
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job."""

    id: int
    created: float
    level: Level
    message: str
    data: dict[str, Any] | None
    """Figures."""


def new_id() -> str:
    """An id for a job."""
    return f"ftjob-{token_hex(12)}"


def add(engine: Engine, job: Job, message: str) -> None:
    """Keep a new job and the event with which it begins."""
    with engine.begin() as connection:
        _add(connection, job, message)


def begin(
    engine: Engine, state: TaskState, now: float, model: Base = "auto", why: str | None = None
) -> Job | None:
    """A job of the loop's own for the task of ``state``, claimed from its beginning; ``why``, in
    words, is what its first event tells.

    None where another trainer of the same store is at it, or was since ``state`` was read. What
    takes long is made beside other jobs.
    """
    task = state.task
    job = Job(new_id(), now, task, "loop", model, status="running", attempts=1, **_claim(now))
    with engine.begin() as connection:
        if locked(connection, task) != state or _is_under_way(connection, job, now):
            return None
        began = "The learning loop began to train"
        _add(connection, job, f"{began}: {why}." if why else f"{began}.")
    return job


def find(engine: Engine, identifier: str) -> Job | None:
    with engine.connect() as connection:
        return _first(connection, jobs.c.id == identifier)


def page(engine: Engine, limit: int, after: Job | None, metadata: Mapping[str, str]) -> list[Job]:
    """The newest ``limit`` jobs, those older than ``after``, that have the pairs ``metadata``."""
    place = (jobs.c.created, jobs.c.id)
    query = select(jobs).order_by(*(each.desc() for each in place)).limit(limit)
    if after is not None:
        query = query.where(tuple_(*place) < tuple_(after.created, after.id))
    for key, value in metadata.items():
        query = query.where(has_pair(jobs.c.metadata, key, value))
    with engine.connect() as connection:
        return [Job(**row._mapping) for row in connection.execute(query)]


# What trainers do


def claim(engine: Engine, now: float) -> Job | None:
    """The oldest job that somebody has asked for and no trainer has, claimed; None without one.

    One waits while a trainer is at another job of its task, for as long as that claim is renewed:
    both would learn the same. Jobs that cannot be taken up again end here: the loop's own, which it
    begins anew by itself, and those that no trainer survives.
    """
    lost = and_(jobs.c.status == "running", jobs.c.claimed_until < now)
    free = and_(jobs.c.finished.is_(None), or_(jobs.c.status == "queued", lost))
    with engine.connect() as connection:
        waiting = [
            Job(**row._mapping)
            for row in connection.execute(select(jobs).where(free).order_by(jobs.c.created))
        ]
    spent = [job for job in waiting if job.origin == "loop" or job.attempts >= MOST_ATTEMPTS]
    for job in spent:
        finish(engine, job, "failed", now, error="The trainer ended before the job did.")
    for job in (job for job in waiting if job not in spent):
        taken = {"status": "running", "attempts": job.attempts + 1, **_claim(now)}
        with engine.begin() as connection:
            locked(connection, job.task)
            if not _is_under_way(connection, job, now) and _change(connection, job, **taken):
                return replace(job, **taken)
    return None


def renew(engine: Engine, job: Job, now: float) -> bool:
    """Hold a job's claim for longer; False where it was cancelled or is another trainer's."""
    with engine.begin() as connection:
        return _change(connection, job, claimed_until=now + CLAIM_S)


def tell(
    engine: Engine,
    job: Job,
    message: str,
    now: float,
    *,
    level: Level = "info",
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write down something that happened to a job. ``data`` are its figures, ready for JSON."""
    with engine.begin() as connection:
        _tell(connection, job.id, now, level, message, data)


def finish(
    engine: Engine,
    job: Job,
    status: Literal["succeeded", "failed"],
    now: float,
    *,
    student: str | None = None,
    error: str | None = None,
) -> bool:
    """End a job; False, and nothing changed, where it was cancelled or is another trainer's."""
    end = {"status": status, "finished": now, "student": student, "error": error}
    with engine.begin() as connection:
        return _change(connection, job, **end)


def discard(engine: Engine, job: Job) -> None:
    """Forget a job and its events."""
    with engine.begin() as connection:
        connection.execute(delete(job_events).where(job_events.c.job == job.id))
        connection.execute(delete(jobs).where(jobs.c.id == job.id))


# What callers do


def cancel(engine: Engine, identifier: str, now: float) -> bool:
    """End a job that is not over; False where it is, or there is none."""
    ours = (jobs.c.id == identifier, jobs.c.finished.is_(None))
    with engine.begin() as connection:
        ending = update(jobs).where(*ours).values(status="cancelled", finished=now)
        cancelled = connection.execute(ending).rowcount > 0
        if cancelled:
            _tell(connection, identifier, now, "warn", "The job was cancelled.")
    return cancelled


def events(engine: Engine, identifier: str, limit: int, before: int | None = None) -> list[Event]:
    """The newest ``limit`` events of a job, those before the event of the id ``before``."""
    query = select(job_events).where(job_events.c.job == identifier)
    if before is not None:
        query = query.where(job_events.c.id < before)
    with engine.connect() as connection:
        return [
            Event(row.id, row.created, row.level, row.message, row.data and json.loads(row.data))
            for row in connection.execute(query.order_by(job_events.c.id.desc()).limit(limit))
        ]


def _claim(now: float) -> dict[str, Any]:
    return {"claim": token_hex(8), "claimed_until": now + CLAIM_S}


def _add(connection: Connection, job: Job, message: str) -> None:
    connection.execute(insert(jobs), asdict(job))
    _tell(connection, job.id, job.created, "info", message)


def _first(connection: Connection, *which: ColumnElement[bool]) -> Job | None:
    row = connection.execute(select(jobs).where(*which)).first()
    return None if row is None else Job(**row._mapping)


def _is_under_way(connection: Connection, job: Job, now: float) -> bool:
    """Whether a trainer is at another job of the task of ``job`` that one of its kind waits for."""
    kind = jobs.c.model == job.model if job.model in ASIDE else jobs.c.model.not_in(ASIDE)
    ours = (jobs.c.task == job.task, jobs.c.id != job.id, kind)
    held = (jobs.c.finished.is_(None), jobs.c.claimed_until >= now)
    return _first(connection, *ours, *held) is not None


def _change(connection: Connection, job: Job, **values: Any) -> bool:
    """Change a job that is as its claimant, or nobody, has left it."""
    same = (jobs.c.status == job.status, jobs.c.claim.is_not_distinct_from(job.claim))
    changing = update(jobs).where(jobs.c.id == job.id, *same).values(values)
    return connection.execute(changing).rowcount > 0


def _tell(
    connection: Connection,
    identifier: str,
    now: float,
    level: Level,
    message: str,
    data: Mapping[str, Any] | None = None,
) -> None:
    values = {"job": identifier, "created": now, "level": level, "message": message}
    figures = None if data is None else json.dumps(data)
    connection.execute(insert(job_events).values(**values, data=figures))
