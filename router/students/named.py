"""Requests for a student by its version, which is a model's name."""

from __future__ import annotations

from dataclasses import replace

from router.errors import InvalidRequestError
from router.students.serving import Student
from router.terms import Terms


def with_task(terms: Terms, student: Student | None) -> Terms:
    """The ``terms`` of a request for ``student``, whose task it is for if it does not say."""
    if student is None or terms.task is not None:
        return terms
    return replace(terms, task=student.task)


def check_task(student: Student | None, task: str) -> None:
    """Raises InvalidRequestError if a request for ``student`` is of a ``task`` not its own."""
    if student is not None and student.task != task:
        raise InvalidRequestError(
            f"'{student.version}' is a student of another task: '{student.task}'.", "model"
        )
