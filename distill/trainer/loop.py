"""What the trainer does next: texts forgotten, files deleted, jobs asked for, jobs due."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from distill import schedule
from distill.runs import hosted
from distill.runs.hosted import Evidence
from distill.schedule import LastRun
from distill.students.encoder import EncoderError, forget_before
from distill.trainer.aside import Aside
from distill.trainer.attempt import Attempts
from distill.trainer.changed import Changed
from distill.trainer.encoder_tuning import EncoderTuning
from distill.trainer.encoders import Encoders
from distill.trainer.handover import TrainerSettings
from distill.trainer.kinds import Kind, Kinds
from distill.trainer.retraining import Retraining
from distill.trainer.shelf import Shelf
from telemetry import jobs, tryouts
from telemetry.exchange import TaskState
from telemetry.jobs import Job
from telemetry.store import Store

logger = logging.getLogger("protege.trainer")

_PAUSE_S = 0.25
_PATIENCE = 20
"""Looking for work may take one part in this many of the time."""
_FORGET_S = 60.0
"""How much longer than allowed texts may stay."""
_CLEAR_S = 3600.0
"""Time between two looks for files that nobody needs."""
_AWAY_S = 5.0
"""Pause where the store cannot be read."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """A job to do."""

    job: Job
    answers: int
    """Teacher answers that its task has."""
    hurried: bool
    """Whether its student is to read n-grams alone: to embed a task's texts takes seconds, in which
    several others could have their first student."""


class Trainer:
    """Retrains tasks of one exchange store."""

    def __init__(self, settings: TrainerSettings) -> None:
        self._settings = settings
        self._store = Store(settings.data, settings.database)
        self._encoders = Encoders(settings.data, settings.loop.encoder)
        self._shelf = Shelf(self._store, settings.data, self._encoders.open)
        self._kinds = Kinds(settings, self._encoders, self._shelf)
        attempts = Attempts(self._store, settings)
        self._retraining = Retraining(self._store, settings, self._shelf, attempts)
        tuning = EncoderTuning(self._store, settings, self._encoders, attempts)
        self._aside = Aside(self._store, self._kinds, self._retraining, tuning)
        self._changed = Changed(self._store, settings.loop.first)
        self._last: dict[str, LastRun] = {}
        """The last label run of each task."""
        self._hurried: dict[str, float] = {}
        """The epochs of tasks that no student serves, since their last run read n-grams alone."""
        self._forgotten = 0.0
        """Unix time before which no text is kept any more."""
        self._cleared = 0.0
        """Unix time at which what ended runs had left was deleted last."""

    def prepare_encoder(self) -> None:
        """Make the encoder ready; until it is, or if it cannot be, students read n-grams alone."""
        try:
            self._encoders.prepare()
        except EncoderError as error:
            logger.error("%s; students will read n-grams alone", error)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Retrain what falls due until ``stopped()``."""
        while not stopped():
            started = time.monotonic()
            try:
                self._forget()
                self._clear()
                worked = self._take_turn()
                self._aside.start()
            except DBAPIError as error:
                logger.error("the store cannot be read: %s", error.orig)
                time.sleep(_AWAY_S)
                continue
            if not worked:
                looked = time.monotonic() - started
                time.sleep(max(_PAUSE_S, _PATIENCE * looked))

    def _take_turn(self) -> bool:
        """Do the next job; False where there is none."""
        turn = self._next_turn()
        if turn is None:
            return False
        task, answers = turn.job.task, turn.answers
        started = time.monotonic()
        self._retraining.make(turn.job, answers, self._kind(turn))
        took_s = time.monotonic() - started
        if turn.hurried:
            self._note_haste(task)
        self._last[task] = LastRun(took_s, self._retraining.hopes.get(task, 1.0))
        self._try_hosted(task, answers)
        self._aside.want(task, answers)
        return True

    def _kind(self, turn: _Turn) -> Kind:
        """What student to make."""
        if turn.job.model == "ngrams":
            return self._kinds.ngrams()
        if turn.hurried:
            return self._kinds.hurried()
        task = turn.job.task
        return self._kinds.label(task, again=self._hurried.pop(task, None) is not None)

    def _note_haste(self, task: str) -> None:
        """Remember that the task is to be retrained with the encoder, if n-grams alone do not
        serve."""
        if not any(record.task == task for record in self._store.roster.placed()):
            self._hurried[task] = self._store.roster.task_state(task).epoch

    def _forget(self) -> None:
        """Delete the texts that have become too old, and what is remembered of them."""
        horizon = self._settings.dataset.horizon(time.time())
        if horizon - self._forgotten > _FORGET_S:
            # What was being written when it was looked for last is found now.
            self._store.forget_before(horizon, self._forgotten - _FORGET_S)
            forget_before(self._encoders.folder, horizon)
            self._forgotten = horizon

    def _clear(self) -> None:
        """Delete, now and then, the files of students that were never registered."""
        now = time.time()
        if now - self._cleared > _CLEAR_S:
            self._shelf.clear(now)
            self._cleared = now

    def _next_turn(self) -> _Turn | None:
        """The job to do next: one that somebody has asked for, or else one that is due."""
        now, engine = time.time(), self._store.engine
        # Who asks for a run wants the best student that there can be.
        asked = None if self._encoders.comes else jobs.claim(engine, now)
        answers = self._store.teacher_answer_counts()
        if asked is not None:
            return _Turn(asked, answers.get(asked.task, 0), hurried=False)
        answers.pop(self._aside.writing or "", None)
        states = self._store.roster.task_states()
        due = self._due(answers, states, now)
        comes = self._encoders.comes
        crowded = len(due) > 1 and self._encoders.general is not None
        later = {
            task: why for task, why in self._put_off(answers, states).items() if task not in due
        }
        # What another trainer of this store is at is left to it.
        for task, why in (due | later).items():
            state = states.get(task, TaskState(task))
            job = jobs.begin(engine, state, now, why=why)
            if job is not None:
                logger.info("%s is trained: %s", task, why)
                first = not state.trained_on
                return _Turn(job, answers[task], hurried=comes or (crowded and first))
        return None

    def _due(
        self, answers: Mapping[str, int], states: Mapping[str, TaskState], now: float
    ) -> dict[str, str]:
        """Tasks to retrain at Unix time ``now`` and why, the most urgent first, by the number of
        their ``answers`` and their ``states``."""
        changed = self._changed.since_last_run(answers, states, now)
        due = schedule.due(answers, states, now, self._settings.loop, self._last, changed)
        # What was tuned for minutes is not to wait for still more answers.
        renewed = {
            task: "it has an encoder of its own"
            for task in answers
            if self._encoders.is_new(states.get(task, TaskState(task)))
        }
        return renewed | {task: why for task, why in due.items() if task not in renewed}

    def _put_off(
        self, answers: Mapping[str, int], states: Mapping[str, TaskState]
    ) -> dict[str, str]:
        """Tasks that have yet to be retrained with the encoder, now that there is one, and why."""
        if self._encoders.comes:
            return {}
        return {
            task: "its last run read n-grams alone"
            for task, epoch in self._hurried.items()
            if task in answers and states.get(task, TaskState(task)).epoch == epoch
        }

    def _try_hosted(self, task: str, answers: int) -> None:
        """Put the hosted models to the test of which there are enough new tryouts."""
        for settings in self._settings.hosted.models:
            model = settings.model
            state = self._store.roster.task_state(task)
            engine = self._store.engine
            made = tryouts.made(engine, task, model, state.epoch)
            if hosted.is_due(self._store.roster.students(task), model, len(made)):
                job = jobs.begin(engine, state, time.time(), model="hosted")
                if job is not None:
                    costs = tryouts.teacher_costs(engine, task, model, state.epoch)
                    kind = self._kinds.hosted(Evidence(model, made, costs))
                    self._retraining.make(job, answers, kind)
