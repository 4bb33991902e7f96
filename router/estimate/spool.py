"""Requests on disk, sorted by task: logs may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import orjson

from distill.forecast import Request
from policies.tasks import read_prompt
from router.conversations import turns
from telemetry.prices import Usage

_FILES = 64
"""Tasks are dealt out over at most so many files."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """One request of the logs, ready to be played."""

    place: int
    """Among all requests, from 0."""
    task: str
    request: Request
    teacher_cost: int
    """Picodollars."""


class Spool:
    """Files of requests in a folder. Each task is in one of them, in order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file_of: dict[str, Path] = {}
        self._opened: dict[Path, BinaryIO] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def add(self, spooled: Spooled) -> None:
        number = len(self._file_of) % _FILES
        path = self._file_of.setdefault(spooled.task, self._folder / f"{number}.jsonl")
        if path not in self._opened:
            self._opened[path] = self._stack.enter_context(path.open("wb"))
        self._opened[path].write(_line(spooled))

    @property
    def files(self) -> list[Path]:
        """Largest first, so that none is begun last that takes longest."""
        return sorted(self._opened, key=lambda path: path.stat().st_size, reverse=True)


def read(path: Path) -> Iterator[Spooled]:
    """What was added to one of a spool's files, in order."""
    with path.open("rb") as lines:
        for line in lines:
            place, task, body, answer, usage, right, cost = orjson.loads(line)
            text, (before, this) = read_prompt(body).text, turns(body, None, task)
            request = Request(body, text, answer, Usage(*usage), before, this, right)
            yield Spooled(place, task, request, cost)


def _line(spooled: Spooled) -> bytes:
    request = spooled.request
    values = (
        *(spooled.place, spooled.task, request.body, request.answer, tuple(request.usage)),
        *(request.right_answer, spooled.teacher_cost),
    )
    return orjson.dumps(values) + b"\n"
