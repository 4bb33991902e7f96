"""Seed sets: pairs of a prompt and its answer that were made elsewhere, for students to learn from.

They are kept as exchanges that nobody asked for. Students learn from them, but they are no evidence
of how often a student agrees with the teacher.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from distill.data.lessons import LessonError, read_parquet
from router.estimate.files import read_file
from router.estimate.logged import Bad, EstimateError, Logged, logged, seconds
from router.imports.imported import imported
from telemetry.exchange import Exchange


def read(path: Path, task: str) -> Iterator[Exchange | Bad]:
    """The pairs of a file as exchanges of ``task``, and the rows that are none.

    Parquet as ``protege data export`` writes it, CSV with ``text,label``, or else JSON lines with
    ``messages``, in any of the forms of ``protege estimate``. The same pair always has the same id.
    Raises LessonError for a file that is none of these or cannot be read.
    """
    now = time.time()
    try:
        for row in _rows(path):
            if isinstance(row, Bad):
                yield row
            elif row.answer is None:
                yield Bad(str(path), "an answer that is no text or was cut off")
            else:
                yield _exchange(row, row.answer, task, now)
    except EstimateError as error:
        raise LessonError(str(error)) from error
    except OSError as error:
        raise LessonError(f"{path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise LessonError(f"{path}: {error}") from error


def _rows(path: Path) -> Iterator[Logged | Bad]:
    if path.suffix.lower() == ".parquet":
        yield from _parquet_rows(path)
        return
    with path.open("rb") as file:
        yield from read_file(path, file)


def _parquet_rows(path: Path) -> Iterator[Logged | Bad]:
    for number, row in enumerate(read_parquet(path), start=1):
        try:
            if not isinstance(row["answer"], str):
                raise ValueError("no answer")
            created = seconds(row["created"])
            body = {"messages": _messages(row["messages"])}
            yield logged(body, row["answer"], created=created)
        except ValueError as error:
            yield Bad(f"{path}:{number}", str(error))


def _messages(cell: Any) -> Any:
    """Messages from JSON, or from a list of structures, which have every key that any of the
    column's has. Raises ValueError."""
    if not isinstance(cell, list):
        return orjson.loads(cell or "")
    return [_without_nulls(message) for message in cell]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(each) for key, each in value.items() if each is not None}


def _exchange(row: Logged, answer: str, task: str, now: float) -> Exchange:
    # What has not been yet would outlast dataset.retention_days.
    created = now if row.created is None else min(max(row.created, 0.0), now)
    return imported(row.body, answer, task, created, row.usage)
