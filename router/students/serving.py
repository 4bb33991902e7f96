"""The students in service: kept up to date with the store, and asked.

A student that is promoted or demoted by any process takes effect here within a second.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from distill.students.base import TEXT, Prediction, Rung
from policies.rules import Unfamiliar
from policies.tasks import Prompt
from router.polling import Background, keep_fresh
from telemetry.exchange import Stage, StudentRecord
from telemetry.prices import Usage
from telemetry.store import Store

if TYPE_CHECKING:
    from distill.students.ladder import Ladder

POLL_S = 0.25
RETRY_S = 10.0
"""Seconds until a student whose files could not be read is tried again."""
BATCH = 32
"""Most texts that a rung is asked about at once."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a student says, and what it took to ask."""

    prediction: Prediction
    compute_s: float
    """Seconds of computing: its part of those of the batches that it was in."""
    waiting: int
    """Questions that were waiting before it."""
    stratum: str | None
    """The slice of the task that the text is in, where each must keep the promise on its own."""
    floor: float
    """The least confidence at which the text is answered; infinite where that is the teacher's."""


@dataclass(slots=True)
class _Question:
    text: str
    answered: asyncio.Future[tuple[Prediction, float]]


class _Batched:
    """Asks a rung about all texts that wait at once: one call costs little more for many.

    A fast rung is asked on the event loop, about what came with the same tick; a slower one in
    the ``executor``, and while it answers the next batch gathers.
    """

    def __init__(self, rung: Rung, executor: ThreadPoolExecutor) -> None:
        self._rung = rung
        self._executor = None if rung.fast else executor
        # What writes does so in a thread of its engine's, for which this one waits.
        self._clock = time.perf_counter if rung.name == TEXT else time.thread_time
        self._waiting: list[_Question] = []
        self._work: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def predict(self, text: str) -> tuple[Prediction, float]:
        """The prediction, and its part of the seconds that its batch took."""
        question = _Question(text, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        if self._work is None:
            self._work = asyncio.create_task(self._answer())
        return await question.answered

    async def _answer(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                predictions, took_s = await self._ask([question.text for question in batch])
            except Exception as error:
                for question in batch:
                    if not question.answered.cancelled():
                        question.answered.set_exception(error)
            else:
                share_s = took_s / len(batch)
                for question, prediction in zip(batch, predictions, strict=True):
                    if not question.answered.cancelled():
                        question.answered.set_result((prediction, share_s))
        self._work = None

    async def _ask(self, texts: list[str]) -> tuple[list[Prediction], float]:
        if self._executor is None:
            return self._timed(texts)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._timed, texts)

    def _timed(self, texts: list[str]) -> tuple[list[Prediction], float]:
        started = self._clock()
        predictions = self._rung.predict(texts)
        return predictions, self._clock() - started


class Student:
    """A ladder in service."""

    def __init__(
        self, ladder: Ladder, executor: ThreadPoolExecutor, writer: ThreadPoolExecutor
    ) -> None:
        self.version = ladder.version
        self.task = ladder.task
        self.threshold = ladder.threshold
        """The least confidence at which an answer may be given."""
        self.strata = ladder.strata
        """How many slices must keep the promise each on its own."""
        self.promise = ladder.promise
        """What it was tested for; None where nobody noted it."""
        self._ladder = ladder
        self._rungs = [
            _Batched(rung, writer if rung.name == TEXT else executor) for rung in ladder.rungs
        ]

    async def predict(self, text: str) -> Asked:
        """The answer of the cheapest rung that is sure enough, else the surest of all."""
        varying = self._ladder.varying(text)
        place = self._ladder.place(varying)
        waiting = sum(rung.waiting for rung in self._rungs)
        compute_s = 0.0
        surest: Prediction | None = None
        for rung in self._rungs:
            prediction, took_s = await rung.predict(varying)
            compute_s += took_s
            if surest is None or prediction.confidence > surest.confidence:
                surest = prediction
            if prediction.confidence >= place.floor or math.isinf(place.floor):
                break
        assert surest is not None, "a ladder has at least one rung"
        surest = self._ladder.settled(surest, place.floor)
        if self._ladder.masks:
            surest = _restored(surest, self._ladder.masked(text).restore)
        return Asked(surest, compute_s, waiting, place.stratum, place.floor)

    def is_too_long(self, text: str) -> bool:
        """Whether ``text`` is longer than all that the student was trained and tested on."""
        return self._ladder.is_too_long(text)

    def unfamiliar(self, prompt: Prompt) -> Unfamiliar | None:
        """What of a request is unlike all that the student was trained and tested on, if any."""
        return self._ladder.unfamiliar(prompt)

    def usage(self, text: str, answer: str) -> Usage:
        """The tokens that the teacher would count."""
        return self._ladder.usage.estimate(self._ladder.varying(text), answer)


def _restored(prediction: Prediction, restore: Callable[[str], str]) -> Prediction:
    """The prediction in the words of its caller, with no placeholder."""
    alternatives = tuple((restore(answer), share) for answer, share in prediction.alternatives)
    return replace(prediction, answer=restore(prediction.answer), alternatives=alternatives)


@dataclass(frozen=True, slots=True)
class Coming:
    """A student on its way into service."""

    student: Student
    record: StudentRecord


class Students:
    """The student of each task, and one that is to replace it, as the store has them."""

    def __init__(self, store: Store, data: Path, hosted: Collection[str] = ()) -> None:
        """``hosted`` are the models of providers that students may have answer."""
        self._store = store
        self._data = data
        self._hosted = hosted
        # One thread: the rungs' own libraries use what cores there are.
        self._executor = ThreadPoolExecutor(1, "student")
        # To write a text takes many times longer than to choose a label.
        self._writer = ThreadPoolExecutor(1, "writer")
        # However many callers wait for the store in the threads that all share.
        self._reader = ThreadPoolExecutor(1, "students")
        self._serving: dict[str, Student] = {}
        self._coming: dict[str, Coming] = {}
        self._named: dict[str, Student] = {}
        self._places: frozenset[tuple[str, Stage | None]] = frozenset()
        """What the store said last."""
        self._again: dict[str, float] = {}
        """By version: when one that could not be loaded is tried again, by ``time.monotonic``."""
        self._refreshing = asyncio.Lock()
        self._poll = Background()

    def of(self, task: str) -> Student | None:
        return self._serving.get(task)

    def coming(self, task: str) -> Coming | None:
        return self._coming.get(task)

    def named(self, version: object) -> Student | None:
        """The student of that version, if it serves or is on its way there."""
        return self._named.get(version) if isinstance(version, str) else None

    def all(self) -> Iterable[Student]:
        """All that ``named`` knows."""
        return self._named.values()

    async def start(self) -> None:
        await self.refresh()
        # What has been imported stays. The garbage collector would stop every request for tenths
        # of a second to look through it, again and again.
        gc.freeze()
        self._poll.start(keep_fresh(self.refresh, POLL_S, "the students"))

    async def stop(self) -> None:
        await self._poll.stop()
        self._executor.shutdown(cancel_futures=True)
        self._writer.shutdown(cancel_futures=True)
        self._reader.shutdown(wait=False)

    async def refresh(self) -> None:
        """Take over what the store says now. Requests under way keep the student they have."""
        loop = asyncio.get_running_loop()
        async with self._refreshing:
            places = await loop.run_in_executor(self._reader, self._store.roster.places)
            due = min(self._again.values(), default=math.inf) <= time.monotonic()
            if places != self._places or due:
                found = await loop.run_in_executor(self._reader, self._load)
                self._serving, self._coming = found
                coming = (each.student for each in self._coming.values())
                self._named = {each.version: each for each in (*self._serving.values(), *coming)}
                self._places = places

    def _load(self) -> tuple[dict[str, Student], dict[str, Coming]]:
        placed = self._store.roster.placed()
        versions = {record.version for record in placed}
        self._again = {version: at for version, at in self._again.items() if version in versions}
        serving = {
            record.task: student
            for record in placed
            if record.serving and (student := self._student(record)) is not None
        }
        coming = {
            record.task: Coming(student, record)
            for record in placed
            if record.stage is not None and (student := self._student(record)) is not None
        }
        return serving, coming

    def _student(self, record: StudentRecord) -> Student | None:
        """The student of ``record``. None, and its requests are the teacher's, if it cannot be
        loaded: whoever it replaced is watched by nobody any more."""
        version = record.version
        served = self._serving.get(record.task)
        for known in (served, *(each.student for each in self._coming.values())):
            if known is not None and known.version == version:
                return known
        if time.monotonic() < self._again.get(version, 0.0):
            return None
        try:
            ladder = _ladders().load(self._data / record.path)
        except Exception:
            if version not in self._again:
                _log.exception("student %s of task %s cannot be loaded", version, record.task)
            self._again[version] = time.monotonic() + RETRY_S
            self._store.roster.turn_back(record.task, version, "turned back: it cannot be loaded")
            return None
        # Without one of its rungs it would be another student, that nobody has tested.
        if ladder.hosted is not None and ladder.hosted not in self._hosted:
            _log.error("student %s cannot serve: no model %s is configured", version, ladder.hosted)
            self._again[version] = math.inf
            return None
        self._again.pop(version, None)
        return Student(ladder, self._executor, self._writer)


@cache
def _ladders() -> type[Ladder]:
    """The class of ladders. It brings numerical libraries, so that a server without a student
    starts faster and takes less memory."""
    from distill.students.ladder import Ladder

    gc.freeze()
    return Ladder
