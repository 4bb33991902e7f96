"""``GET /v1/tasks``: the tasks that requests have belonged to lately, and who answers them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import FastAPI
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from router.api.wire import (
    answered,
    limit_of,
    listing,
    owner_of,
    text_of,
)
from router.errors import NotFoundError
from router.lookup import is_searchable
from telemetry.exchange import StudentRecord
from telemetry.store import Store, TaskUse

WINDOW_S = 30 * 24 * 3600.0
"""How far back requests count."""


class _TextConvertor(PathConvertor):
    """All the rest of a path: Starlette's own stops at a line break."""

    regex = "(?s:.*)"


register_url_convertor("text", _TextConvertor())


def add_tasks(app: FastAPI, store: Store) -> None:
    """List and show tasks. A caller whose key is no admin's sees its own requests counted."""

    @app.get("/v1/tasks")
    async def list_tasks(request: Request) -> Response:
        limit = limit_of(request.query_params)
        after = text_of(request.query_params, "after") or ""
        owner, since = owner_of(request), time.time() - WINDOW_S
        uses = await asyncio.to_thread(store.tasks_in_use, since, after, limit + 1, owner)
        students = await serving()
        return listing([_task(use, students.get(use.task)) for use in uses], limit)

    @app.get("/v1/tasks/{name:text}")
    async def get_task(request: Request, name: str) -> Response:
        since = time.time() - WINDOW_S
        use = None
        if is_searchable(name):
            use = await asyncio.to_thread(store.task_use, name, since, owner_of(request))
        if use is None:
            raise NotFoundError(f"The task '{name}' has had no requests lately.")
        return answered(_task(use, (await serving()).get(name)))

    async def serving() -> dict[str, StudentRecord]:
        return {each.task: each for each in await asyncio.to_thread(store.roster.serving)}


def _task(use: TaskUse, student: StudentRecord | None) -> dict[str, Any]:
    return {
        "id": use.task,
        "object": "protege.task",
        "requests": use.requests,
        "student": student and {"version": student.version, "created": int(student.created)},
        "student_share": use.by_student / use.requests,
        "audits": use.audits,
        "agreement": use.agreements / use.audits if use.audits else None,
    }
