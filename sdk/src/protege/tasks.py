"""The tasks that a Protege server has seen in its traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
from openai.pagination import AsyncCursorPage, SyncCursorPage

if TYPE_CHECKING:
    from openai._base_client import AsyncPaginator


class Student(openai.BaseModel):
    """The student that serves a task."""

    version: str
    created: int
    """Unix time in seconds."""


class Task(openai.BaseModel):
    """A family of requests, and who answers them."""

    id: str
    """Its name."""
    object: str
    requests: int
    """Of the last 30 days, as are the audits."""
    student: Student | None
    student_share: float
    """Share of the requests that students have answered."""
    audits: int
    """Answers of students that have been compared with the teacher's."""
    agreement: float | None
    """Share of the audits in which they agreed."""


class Tasks:
    """``client.tasks``"""

    def __init__(self, client: openai.OpenAI) -> None:
        self._client = client

    def list(self) -> SyncCursorPage[Task]:
        """Every task, to iterate over."""
        return self._client.get_api_list("/tasks", page=SyncCursorPage[Task], model=Task)


class AsyncTasks:
    """``client.tasks``"""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client

    def list(self) -> AsyncPaginator[Task, AsyncCursorPage[Task]]:
        """Every task, to iterate over."""
        return self._client.get_api_list("/tasks", page=AsyncCursorPage[Task], model=Task)
