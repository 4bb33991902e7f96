"""The encoders that label students read texts with: the general one, and tasks' own."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from distill.card import placed_share
from distill.data.dataset import Dataset
from distill.runs import own_encoder
from distill.runs.own_encoder import Own
from distill.students.damaged import DamagedError
from distill.students.encoder import FOLDER, SentenceEncoder
from distill.students.ladder import encoder_named
from telemetry.exchange import StudentRecord, TaskState

_TOLD_APART = len("tuned-") + 4
"""Characters of the name of a task's own encoder that tell two of its encoders apart."""


class Encoders:
    """Those of one store; may be used from several threads."""

    def __init__(self, data: Path, general: str | None) -> None:
        """``general`` is the name of the encoder of all tasks; None goes without any."""
        self._data = data
        self.folder = data / FOLDER
        self._general = general
        self._opened: dict[str, SentenceEncoder] = {}
        self._own = own_encoder.newest(self.folder)
        """By task."""
        self._tried: dict[tuple[str, float], int] = {}
        """By task and epoch, the answers with which an encoder was last to be tuned."""
        self.general: SentenceEncoder | None = None
        """The encoder of all tasks, once it is ready."""
        self.comes = general is not None
        """Whether it is still to be made ready."""

    def prepare(self) -> None:
        """Make the general encoder ready, where there is one. Raises EncoderError."""
        try:
            if self._general is not None:
                encoder = self.open(self._general)
                encoder.prepare()
                self.general = encoder
        finally:
            self.comes = False

    def open(self, name: str) -> SentenceEncoder:
        """The encoder of that name. Raises EncoderError."""
        if name not in self._opened:
            self._opened[name] = SentenceEncoder.open(name, self.folder, remember=True)
        return self._opened[name]

    def own(self, task: str, data: Dataset) -> SentenceEncoder | None:
        """The task's own encoder, where there is one that fits its ``data``. Raises
        EncoderError."""
        own = self._own.get(task)
        return self.open(own.name) if own is not None and own.fits(data) else None

    def suffix(self, task: str) -> str:
        """What tells a version of students apart by the task's own encoder."""
        return f"-{self._own[task].name[:_TOLD_APART]}" if task in self._own else ""

    def is_new(self, state: TaskState) -> bool:
        """Whether the task has an encoder of its own that no student has been trained with."""
        own = self._own.get(state.task)
        if own is None or own.epoch != state.epoch:
            return False
        # After a clock was set back no training would come later than the encoder.
        return state.trained_at < own.created <= time.time()

    def may_tune(self, state: TaskState, answers: int, students: Sequence[StudentRecord]) -> bool:
        """Whether the encoder should be tuned to the task of ``state`` that has so many answers and
        these students; then it is not asked for again with as many."""
        if self.general is None:
            return False
        own, tuned_on = self._own.get(state.task), self._tried.get((state.task, state.epoch), 0)
        if own is not None and own.epoch == state.epoch:
            tuned_on = max(tuned_on, own.answers)
        if not own_encoder.is_due(answers, placed_share(students), tuned_on):
            return False
        self._tried[state.task, state.epoch] = answers
        return True

    def keep(self, own: Own, students: Sequence[StudentRecord]) -> None:
        """Take over a task's ``own`` encoder from now on. Those go that none of the task's
        ``students`` reads with."""
        self._own = self._own | {own.task: own}
        read = set()
        for record in students:
            # One without files, or whose files are damaged, serves nobody.
            with contextlib.suppress(DamagedError):
                read.add(encoder_named(self._data / record.path))
        own_encoder.prune(self.folder, own.task, read)

    def discard(self, own: Own) -> None:
        """Delete one that nobody is to read with."""
        shutil.rmtree(self.folder / own.name, ignore_errors=True)
