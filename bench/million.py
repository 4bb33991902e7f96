"""A month of traffic for measurements: ``python -m bench.million FOLDER [--database URL]``.

1,000,000 exchanges of 30 days up to now, 200 tasks of uneven size, 20 keys; each task belongs to
one to three keys, half of the tasks have a student, and the days have their rhythm.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import orjson
import typer
from pydantic import SecretStr

from telemetry.exchange import Exchange, StudentRecord, TaskState
from telemetry.store import Store

EXCHANGES = 1_000_000
DAYS = 30
TASKS = 200
KEYS = 20
DAY_S = 86400

_BATCH = 5_000
_WORDS = ("parcel", "invoice", "refund", "password", "delivery", "account", "broken", "never came")
_LABELS = ("billing", "shipping", "returns", "other")
_INPUT, _OUTPUT = 2_500_000, 15_000_000
"""Picodollars a token, as of a large model."""


@dataclass(frozen=True, slots=True)
class _Task:
    name: str
    keys: tuple[str, ...]
    student: str | None
    agreement: float


def exchanges(number: int, until: float, seed: int = 0) -> Iterator[Exchange]:
    """So many exchanges of the 30 days before Unix time ``until``, oldest first."""
    rng = random.Random(seed)
    tasks = [_task(place, rng) for place in range(TASKS)]
    weights = [1 / (place + 5) for place in range(TASKS)]
    chosen = rng.choices(tasks, weights, k=number)
    for place, created in enumerate(sorted(_moments(number, until, rng))):
        yield _exchange(f"req_{place:020x}", created, chosen[place], rng)


def fill(store: Store, number: int, until: float) -> None:
    """Write the exchanges and students into an empty store."""
    rng = random.Random(0)
    for place in range(TASKS):
        task = _task(place, rng)
        if task.student:
            card = orjson.dumps({"threshold": 0.8, "agreement": task.agreement}).decode()
            record = StudentRecord(task.student, task.name, until - DAY_S, "", True, "passed", card)
            store.roster.close_run(TaskState(task.name), record)
    made = exchanges(number, until)
    while batch := list(islice(made, _BATCH)):
        store.write(batch)


def _task(place: int, rng: random.Random) -> _Task:
    keys = tuple(f"key_{rng.randrange(KEYS):02}" for _ in range(rng.randint(1, 3)))
    name = f"task-{place:03}"
    student = f"{name}-v1" if place % 2 else None
    return _Task(name, keys, student, 1 - 0.04 * rng.random())


def _moments(number: int, until: float, rng: random.Random) -> Iterator[float]:
    """More by day than by night."""
    made = 0
    while made < number:
        moment = until - rng.random() * DAYS * DAY_S
        if rng.random() < 0.6 - 0.4 * math.cos(2 * math.pi * moment / DAY_S):
            made += 1
            yield moment


def _exchange(identifier: str, created: float, task: _Task, rng: random.Random) -> Exchange:
    by_student = task.student is not None and rng.random() < 0.6
    audited = by_student and rng.random() < 0.1
    failed = not by_student and rng.random() < 0.005
    text = " ".join(rng.choices(_WORDS, k=30))
    label = rng.choice(_LABELS)
    prompt_tokens, completion_tokens = rng.randint(60, 400), rng.randint(1, 6)
    teacher_cost = prompt_tokens * _INPUT + completion_tokens * _OUTPUT
    agreed = audited and rng.random() < task.agreement
    messages = [
        {"role": "system", "content": f"Answer with the department ({task.name})."},
        {"role": "user", "content": text},
    ]
    return Exchange(
        id=identifier,
        created=created,
        task=task.name,
        route="student" if by_student else "teacher",
        model=task.student if by_student and task.student else "gpt-5.4",
        reason="student_confident" if by_student else "student_unsure",
        status=502 if failed else 200,
        stream=False,
        sampled=audited,
        confidence=0.9 if by_student else None,
        student=task.student if by_student else None,
        student_answer=label if by_student else None,
        propensity=0.1 if by_student else 1.0,
        request=orjson.dumps({"messages": messages}).decode(),
        answer=None if failed else label,
        teacher_answer=label if (not by_student and not failed) or agreed else None,
        completion_id=f"chatcmpl-{identifier}",
        agreed=agreed if audited else None,
        finish_reason=None if failed else "stop",
        error="upstream_broken" if failed else None,
        attempts=0 if by_student else 1,
        key=rng.choice(task.keys),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost=0 if by_student or failed else teacher_cost,
        teacher_cost=0 if failed else teacher_cost,
        audit_cost=round(teacher_cost * rng.uniform(0.95, 1.1)) if audited else 0,
        latency_s=rng.uniform(0.001, 0.01) if by_student else rng.uniform(0.3, 1.5),
    )


def main(
    folder: Annotated[Path, typer.Argument(help="Data folder to fill; must hold no store.")],
    database: Annotated[str | None, typer.Option(help="An empty PostgreSQL database.")] = None,
    number: Annotated[int, typer.Option(help="Exchanges.")] = EXCHANGES,
) -> None:
    """Fill a store."""
    started = time.perf_counter()
    store = Store(folder, SecretStr(database) if database else None)
    fill(store, number, time.time())
    store.close()
    typer.echo(f"{number:,} exchanges in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    typer.run(main)
