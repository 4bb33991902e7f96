"""The jobs whose end is a student: the answers on record are read, a challenger is made of them,
and it is registered with its card."""

from __future__ import annotations

import dataclasses
import logging
import time
from functools import partial

from distill import registry
from distill.card import Card, Expected, Learnt
from distill.data.card import card as data_card
from distill.data.dataset import build
from distill.data.on_record import on_record
from distill.runs.challenge import Challenge
from distill.runs.run import Run
from distill.trainer.attempt import Attempt, Attempts
from distill.trainer.handover import TrainerSettings
from distill.trainer.kinds import Kind
from distill.trainer.shelf import Shelf
from distill.trainer.worth import Worth
from telemetry import trials
from telemetry.exchange import PICO, StudentRecord
from telemetry.jobs import Job
from telemetry.runs import Outcome
from telemetry.store import Store

logger = logging.getLogger("protege.trainer")


class Retraining:
    """That of one trainer; may be used from several threads."""

    def __init__(
        self, store: Store, settings: TrainerSettings, shelf: Shelf, attempts: Attempts
    ) -> None:
        self._store = store
        self._settings = settings
        self._shelf = shelf
        self._attempts = attempts
        self.hopes: dict[str, float] = {}
        """By task, how often the surest third of what its last label student would have said agreed
        with the teacher."""
        self.instructions: dict[str, tuple[str, ...] | None] = {}
        """By task, those in use at its last run; None where they were not told apart."""

    def make(self, job: Job, answers: int, kind: Kind) -> None:
        """Do a job whose end is a student of that ``kind``, for a task with so many answers."""
        self._attempts.make(job, answers, partial(self._work, kind))

    def _work(self, kind: Kind, attempt: Attempt) -> Outcome | None:
        """What a run came to; None where there was none. Raises CancelledError."""
        started = time.time()
        task, progress = attempt.job.task, attempt.progress
        state = self._store.roster.task_state(task)
        read = on_record(self._store, state, self._settings.dataset.horizon(time.time()))
        progress.step()
        data = build(read.exchanges, self._settings.dataset.private)
        self.instructions[task] = data.instructions
        about = data_card(data, read.exchanges, self._store.left_out(task, read.since))
        version = kind.version(task, data)
        known = self._store.roster.student(version)
        if known is not None:
            return _end_as(known, attempt)
        data = self._shelf.weighted(task, data, read.exchanges, read.since)
        progress.tell(f"Training on {len(data)} answers, {data.evidence} of them evidence.")
        if not attempt.pays():
            attempt.put_off()
            return None
        champion = self._shelf.champion(task)
        challenge = Challenge(version, data, state, self._settings.policy, champion)
        run = kind.train(challenge)
        if run is None:
            progress.discard()
            return None
        progress.step()
        if run.hope is not None:
            self.hopes[task] = run.hope
        learnt = Learnt(
            **vars(about),
            since=state.epoch,
            suspects=run.suspects,
            instructions=data.instructions,
        )
        card = _card(learnt, run, started, attempt.expected)
        return self._close(attempt, challenge, run, card, started)

    def _close(
        self, attempt: Attempt, challenge: Challenge, run: Run, card: Card, started: float
    ) -> Outcome:
        """Register what came of a ``run`` that was ``started`` at that Unix time, and end its
        job."""
        task, version = challenge.task, challenge.version
        record = self._shelf.record(task, version, run, card.text, self._settings.loop.rollout)
        overtaken = None if run.verdict.delta is None else registry.overtaken(record)
        after = run.advance(challenge.state, attempt.answers, started)
        with self._shelf.written(version, run) as place:
            kept = self._store.roster.close_run(after, record, overtaken, place)
        if kept is None and (made := self._store.roster.student(version)) is not None:
            return _end_as(made, attempt)
        if kept is not None:
            self._shelf.keep(kept)
        registry.prune(self._store, task)
        verdict = "dropped: the task was demoted meanwhile" if kept is None else kept.verdict
        logger.info("%s: %s (%.1f s)", version, verdict, time.time() - started)
        if kept is None:
            attempt.progress.fail(verdict)
            return "kept"
        if kept.placed:
            trials.forget(self._store.engine, task, version)
        attempt.progress.close(kept)
        return "promoted" if kept.placed else "kept"


def _end_as(made: StudentRecord, attempt: Attempt) -> Outcome:
    """End a job whose student there is already: the same answers make the same."""
    attempt.progress.tell(f"{made.version} has been trained on these answers already.")
    attempt.progress.close(made)
    attempt.put_off()
    return "kept"


def _card(data: Learnt, run: Run, started: float, expected: Worth | None) -> Card:
    ladder = run.ladder
    promise = None if ladder is None else ladder.promise
    usage = None if ladder is None else dataclasses.asdict(ladder.usage)
    hoped = None if expected is None else Expected(expected.saving / PICO, expected.cost / PICO)
    return Card(
        data=data,
        labels=run.labels,
        rungs=run.rungs,
        gate=run.verdict,
        promise=promise,
        hosted=run.hosted,
        again=run.again,
        usage=usage,
        evaluation=run.report,
        latency=run.latency,
        training_s=round(time.time() - started, 3),
        expected=hoped,
    )
