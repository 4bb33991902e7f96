"""The jobs whose end is a task's own encoder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from distill.data.dataset import build
from distill.data.on_record import on_record
from distill.runs import own_encoder
from distill.runs.own_encoder import Own
from distill.trainer.attempt import Attempt, Attempts
from distill.trainer.encoders import Encoders
from distill.trainer.handover import TrainerSettings
from distill.trainer.progress import CancelledError
from telemetry.exchange import StudentRecord, TaskState
from telemetry.jobs import Job
from telemetry.runs import Outcome
from telemetry.store import Store


class EncoderTuning:
    """That of one trainer; may be used from several threads."""

    def __init__(
        self, store: Store, settings: TrainerSettings, encoders: Encoders, attempts: Attempts
    ) -> None:
        self._store = store
        self._settings = settings
        self._encoders = encoders
        self._attempts = attempts

    def is_due(self, state: TaskState, answers: int, students: Sequence[StudentRecord]) -> bool:
        """Whether an encoder should be tuned to the task of ``state`` that has so many answers and
        these students; then it is not asked for again with as many."""
        if not self._settings.loop.tuning_minutes:
            return False
        return self._encoders.may_tune(state, answers, students)

    def make(self, job: Job, state: TaskState, answers: int) -> None:
        """Do such a job for the task of ``state`` that has so many answers."""
        self._attempts.make(job, answers, partial(self._work, state))

    def _work(self, state: TaskState, attempt: Attempt) -> Outcome | None:
        progress = attempt.progress
        if not attempt.pays():
            return None
        own = self._tune(state, attempt.answers)
        if own is None:
            progress.discard()
            return None
        try:
            progress.step()
        except CancelledError:
            self._encoders.discard(own)
            raise
        self._encoders.keep(own, self._store.roster.students(state.task))
        report = own.report
        found = f"{report.agreed:.1%} of {report.texts} answers told without having seen them"
        progress.complete(f"The task has an encoder of its own: {found}.")
        return "kept"

    def _tune(self, state: TaskState, answers: int) -> Own | None:
        encoders, settings = self._encoders, self._settings
        assert encoders.general is not None, "there is something to tune"
        read = on_record(self._store, state, settings.dataset.horizon(time.time()))
        return own_encoder.tune(
            state,
            answers,
            build(read.exchanges, settings.dataset.private),
            settings.policy.alpha,
            encoders.general,
            encoders.folder,
            cpu_s=60 * settings.loop.tuning_minutes,
            sift=settings.dataset.suspects == "drop",
        )
