"""What the learning loop remembers of a task, held while it is looked at and changed."""

from __future__ import annotations

import dataclasses

from sqlalchemy import Connection, select

from telemetry.exchange import TaskState
from telemetry.schema import tasks
from telemetry.upsert import upsert


def locked(connection: Connection, task: str) -> TaskState:
    """What is known of a task, which no other transaction changes until this one has ended."""
    # On SQLite a transaction has the database for itself from its first write on.
    new = dataclasses.asdict(TaskState(task))
    connection.execute(upsert(connection, tasks).on_conflict_do_nothing(), new)
    row = connection.execute(select(tasks).where(tasks.c.task == task).with_for_update()).one()
    return TaskState(**row._mapping)
