"""The learning loop's process: watch the exchanges, retrain what is due, register what passes.

Runs beside the server at low priority: ``python -m distill.trainer`` with its settings as JSON in
the environment variable ``PROTEGE_TRAINER``. It stops when the process that started it is gone.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import resource
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sqlalchemy.exc import DBAPIError
from threadpoolctl import threadpool_limits

from distill import registry, schedule
from distill.card import Card, DataCard, Expected, Learnt
from distill.data.card import card as data_card
from distill.data.dataset import build
from distill.encoders import Encoders
from distill.handover import SETTINGS_VARIABLE, TrainerSettings
from distill.progress import CancelledError, Progress
from distill.runs import hosted, label, own_encoder, text
from distill.runs.challenge import Challenge
from distill.runs.hosted import Evidence
from distill.runs.run import Run
from distill.schedule import LastRun
from distill.shelf import Shelf
from distill.students.encoder import EncoderError, forget_before
from distill.students.text import language
from distill.students.text.job import Recipe
from distill.students.text.language import LanguageModelError
from distill.students.text.student import Start
from distill.worth import Worth, worth
from telemetry import jobs, runs, trials, tryouts
from telemetry.exchange import PICO, Exchange, StudentRecord, TaskState
from telemetry.jobs import Job
from telemetry.logs import configure
from telemetry.runs import Outcome, TrainingRun
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

MOST_ANSWERS = 20_000
"""A training run reads the newest so many: enough for a label student, and bounded in memory. No
more than half of the places are for imported pairs."""

_RECENT_S = 7 * 86400.0
"""The traffic that tells what a run could save."""

_SLUG_LENGTH = 40
_SCRATCH = "training"
"""Folder that text students are trained in, below that of the data."""

Train = Callable[[Challenge], Run | None]
"""Makes a run; None where the challenge is not worth one."""

Work = Callable[[Progress, Worth | None], Outcome | None]
"""Does a job of which so much is expected; what it came to, None where there was nothing to do.
Raises CancelledError."""


class Trainer:
    """Retrains tasks of one exchange store."""

    def __init__(self, settings: TrainerSettings) -> None:
        self._settings = settings
        self._store = Store(settings.data, settings.database)
        self._price = settings.compute_usd_per_hour * PICO / 3600
        """Picodollars per second of a processor."""
        self._encoders = Encoders(settings.data, settings.loop.encoder)
        self._shelf = Shelf(self._store, settings.data, self._encoders.open)
        self._language = _language(settings.loop.language_model, "no text students will be trained")
        self._teacher = _language(settings.loop.local_teacher, "it will not score answers")
        self._aside: threading.Thread | None = None
        """What takes minutes, beside all else: cheap students should not wait for it."""
        self._writing: str | None = None
        """The task whose text student is trained there."""
        self._wanted: dict[str, int] = {}
        """Tasks with new students, and their answers, that may be due for something of the kind."""
        self._last: defaultdict[str, LastRun] = defaultdict(LastRun)
        """The last label run of each task."""
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
                self._start_aside()
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
        job, answers = turn
        started = time.monotonic()
        if job.model == "ngrams":
            self._train(job, answers, "-ngrams", label.retrain)
        else:
            self._train(job, answers, self._encoders.suffix(job.task), self._label_run)
        took_s = time.monotonic() - started
        self._last[job.task] = dataclasses.replace(self._last[job.task], took_s=took_s)
        self._try_hosted(job.task, answers)
        self._wanted[job.task] = answers
        return True

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

    def _next_turn(self) -> tuple[Job, int] | None:
        """The job to do next and its task's number of teacher answers: one that somebody has asked
        for, or else one that is due."""
        now, engine = time.time(), self._store.engine
        # Who asks for a run wants the best student that there can be.
        asked = None if self._encoders.comes else jobs.claim(engine, now)
        answers = self._store.teacher_answer_counts()
        if asked is not None:
            return asked, answers.get(asked.task, 0)
        answers.pop(self._writing or "", None)
        states = self._store.roster.task_states()
        due = schedule.due(answers, states, now, self._settings.loop, self._last)
        # What was tuned for minutes is not to wait for still more answers.
        renewed = [
            task for task in answers if self._encoders.is_new(states.get(task, TaskState(task)))
        ]
        due = [*renewed, *due]
        # What another trainer of this store is at is left to it.
        for task in due:
            job = jobs.begin(engine, states.get(task, TaskState(task)), now)
            if job is not None:
                return job, answers[task]
        return None

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
                    evidence = Evidence(model, made, costs)
                    train = partial(hosted.retrain, evidence=evidence)
                    self._train(job, answers, f"-{_slug(model)}", train)

    def _start_aside(self) -> None:
        """Begin with what takes minutes, where any is due and nothing else of the kind goes on."""
        while self._wanted and (self._aside is None or not self._aside.is_alive()):
            task = next(iter(self._wanted))
            answers = self._wanted.pop(task)
            state = self._store.roster.task_state(task)
            students = self._store.roster.students(task)
            work: Callable[[TaskState, int], None]
            if self._language is not None and text.is_due(students, answers):
                self._writing, work = task, self._write
            elif (waiting := text.waiting(students, state, answers)) is not None:
                work = partial(self._test_again, waiting.version)
            elif self._settings.loop.tuning_minutes and self._encoders.may_tune(
                state, answers, students
            ):
                work = self._tune
            else:
                continue
            self._aside = threading.Thread(
                target=work, args=(state, answers), name="aside", daemon=True
            )
            self._aside.start()

    def _write(self, state: TaskState, answers: int) -> None:
        try:
            job = jobs.begin(self._store.engine, state, time.time(), model="text")
            if job is not None:
                self._train(job, answers, "-text", self._text_run)
                shutil.rmtree(self._scratch(state.task), ignore_errors=True)
        finally:
            self._writing = None

    def _test_again(self, version: str, state: TaskState, answers: int) -> None:
        job = jobs.begin(self._store.engine, state, time.time(), model="retest")
        if job is not None:
            self._train(job, answers, "-text", partial(self._retest, version))

    def _tune(self, state: TaskState, answers: int) -> None:
        job = jobs.begin(self._store.engine, state, time.time(), model="encoder")
        if job is not None:
            self._attempt(job, answers, partial(self._tune_encoder, state, answers))

    def _tune_encoder(
        self, state: TaskState, answers: int, progress: Progress, expected: Worth | None
    ) -> Outcome | None:
        encoders, settings = self._encoders, self._settings
        assert encoders.general is not None, "there is something to tune"
        if not self._pays(progress, expected):
            return None
        own = own_encoder.tune(
            state,
            answers,
            build(self._answers_of(state)[0], settings.dataset.private),
            settings.policy.alpha,
            encoders.general,
            encoders.folder,
            cpu_s=60 * settings.loop.tuning_minutes,
            sift=settings.dataset.suspects == "drop",
        )
        if own is None:
            progress.discard()
            return None
        try:
            progress.step()
        except CancelledError:
            encoders.discard(own)
            raise
        encoders.keep(own, self._store.roster.students(state.task))
        report = own.report
        found = f"{report.agreed:.1%} of {report.texts} answers told without having seen them"
        progress.complete(f"The task has an encoder of its own: {found}.")
        return "kept"

    def _train(self, job: Job, answers: int, suffix: str, train: Train) -> None:
        """Do a job whose end is a student, of a version with that ``suffix``."""
        self._attempt(job, answers, partial(self._retrain, answers, suffix, train))

    def _attempt(self, job: Job, answers: int, work: Work) -> None:
        """Do a job; a task whose job fails waits for its next turn, so that others get theirs."""
        started, before_s = time.monotonic(), _cpu_s(job)
        task = job.task
        outcome: Outcome | None = "failed"
        expected: Worth | None = None
        with Progress(self._store.engine, job) as progress:
            try:
                expected = self._worth(job)
                outcome = work(progress, expected)
            except CancelledError as cancelled:
                logger.info("%s", cancelled)
                outcome = None
                self._put_off(job, answers)
            except Exception as error:
                logger.exception("training %s failed", task)
                progress.fail(f"{type(error).__name__}; the log says more")
                self._put_off(job, answers)
        if outcome is not None:
            took_s = time.monotonic() - started
            cpu_s = _cpu_s(job) - before_s
            run = TrainingRun(
                task,
                time.time(),
                took_s,
                outcome,
                min(answers, MOST_ANSWERS),
                job.model,
                cpu_s,
                round(cpu_s * self._price),
                None if expected is None else expected.saving,
            )
            runs.add(self._store.engine, run)

    def _put_off(self, job: Job, answers: int) -> None:
        """Let the task of a job wait as if it had been trained."""
        if job.model == "encoder":
            return
        self._store.roster.put_off(job.task, answers, job.created, time.time())

    def _label_run(self, challenge: Challenge) -> Run:
        encoders = self._encoders
        tuned = encoders.own(challenge.task, challenge.data)
        return label.retrain(
            challenge,
            encoders.general,
            tuned=tuned,
            encoder_comes=encoders.comes,
            renewed=tuned is not None and encoders.is_new(challenge.state),
            sift=self._settings.dataset.suspects == "drop",
        )

    def _text_run(self, challenge: Challenge) -> Run | None:
        assert self._language is not None, "a text student starts from a language model"
        folder, loop = self._settings.data, self._settings.loop
        start = Start(
            self._language,
            folder / "language",
            self._scratch(challenge.task),
            Recipe(cpu_s=60 * loop.text_minutes, on_policy=loop.on_policy),
            loop.language_layers,
            self._teacher,
        )
        return text.retrain(challenge, start)

    def _retest(self, waiting: str, challenge: Challenge) -> Run | None:
        return text.retest(challenge, self._shelf.former(waiting))

    def _scratch(self, task: str) -> Path:
        """The folder that a text student of ``task`` is trained in."""
        return self._settings.data / _SCRATCH / _slug(task)

    def _answers_of(self, state: TaskState) -> tuple[list[Exchange], float]:
        """What the task's students learn from, and from which Unix time on."""
        since = max(state.epoch, self._settings.dataset.horizon(time.time()))
        exchanges = self._store.teacher_answers(state.task, since, MOST_ANSWERS)
        # What is older than the oldest answer that is read is not left out, but out of reach.
        return exchanges, min((exchange.created for exchange in exchanges), default=since)

    def _pays(self, progress: Progress, expected: Worth | None) -> bool:
        """Whether the loop should go on with a job. If not, it is over."""
        if expected is None:
            return True
        progress.tell(f"Expected: {expected.in_words()}.")
        if expected.pays or progress.job.origin != "loop":
            return True
        progress.fail(f"not trained: {expected.in_words()}")
        return False

    def _retrain(
        self, answers: int, suffix: str, train: Train, progress: Progress, expected: Worth | None
    ) -> Outcome | None:
        """What a run came to; None where there was none. Raises CancelledError."""
        started = time.time()
        task = progress.job.task
        state = self._store.roster.task_state(task)
        exchanges, oldest = self._answers_of(state)
        progress.step()
        data = build(exchanges, self._settings.dataset.private)
        about = data_card(data, exchanges, self._store.left_out(task, oldest))
        version = f"{_slug(task)}-{data.version[:8]}{suffix}"
        known = self._store.roster.student(version)
        if known is not None:
            return self._end_as(known, progress, answers)
        data = self._shelf.weighted(task, data, exchanges, oldest)
        progress.tell(f"Training on {len(data)} answers, {data.evidence} of them evidence.")
        if not self._pays(progress, expected):
            self._put_off(progress.job, answers)
            return None
        policy, champion = self._settings.policy, self._shelf.champion(task)
        run = train(Challenge(version, data, state, policy, champion))
        if run is None:
            progress.discard()
            return None
        progress.step()
        if run.hope is not None:
            self._last[task] = dataclasses.replace(self._last[task], hope=run.hope)
        card = _card(about, run, state, started, expected)
        record = self._shelf.record(task, version, run, card.text, self._settings.loop.rollout)
        overtaken = None if run.verdict.delta is None else registry.overtaken(record)
        after = run.advance(state, answers, started)
        with self._shelf.written(version, run) as place:
            kept = self._store.roster.close_run(after, record, overtaken, place)
        if kept is None and (made := self._store.roster.student(version)) is not None:
            return self._end_as(made, progress, answers)
        if kept is not None:
            self._shelf.keep(kept)
        registry.prune(self._store, task)
        verdict = "dropped: the task was demoted meanwhile" if kept is None else kept.verdict
        logger.info("%s: %s (%.1f s)", version, verdict, time.time() - started)
        if kept is None:
            progress.fail(verdict)
            return "kept"
        if kept.placed:
            trials.forget(self._store.engine, task, version)
        progress.close(kept)
        return "promoted" if kept.placed else "kept"

    def _end_as(self, made: StudentRecord, progress: Progress, answers: int) -> Outcome:
        """End a job whose student there is already: the same answers make the same."""
        progress.tell(f"{made.version} has been trained on these answers already.")
        progress.close(made)
        self._put_off(progress.job, answers)
        return "kept"

    def _worth(self, job: Job) -> Worth | None:
        """What the run is worth, if it is known what it costs. A label student's first run tells;
        what takes minutes may take as long as it is allowed to."""
        price = self._price
        if not price:
            return None
        engine, now = self._store.engine, time.time()
        cpu_s = runs.measured_cpu_s(engine, job.task, job.model)
        loop = self._settings.loop
        if cpu_s is None and job.model in jobs.ASIDE:
            cpu_s = 60 * (loop.text_minutes if job.model == "text" else loop.tuning_minutes)
        if cpu_s is None:
            return None
        left = runs.left_for_students(engine, job.task, now - _RECENT_S)
        return worth(left, now - (left.first or now), cpu_s, price)


def _card(
    data: DataCard, run: Run, state: TaskState, started: float, expected: Worth | None
) -> Card:
    ladder = run.ladder
    promise = None if ladder is None else ladder.promise
    usage = None if ladder is None else dataclasses.asdict(ladder.usage)
    hoped = None if expected is None else Expected(expected.saving / PICO, expected.cost / PICO)
    return Card(
        data=Learnt(**vars(data), since=state.epoch, suspects=run.suspects),
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


def _cpu_s(job: Job) -> float:
    """Seconds of a processor that this thread has taken so far; and, of what takes minutes, the
    processes that it is made in."""
    if job.model not in jobs.ASIDE:
        return time.thread_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.thread_time() + children.ru_utime + children.ru_stime


def _language(name: str | None, without: str) -> Path | None:
    """The language model by that name; None where there is none, and a word in the log of how it
    goes on ``without``."""
    try:
        return None if name is None else language.find(name)
    except LanguageModelError as error:
        logger.error("%s; %s", error, without)
        return None


def _slug(task: str) -> str:
    """A name for a folder and a model, whatever the task is called."""
    # Its end has the hash of a task that nobody has named.
    return re.sub(r"[^a-z0-9]+", "-", task.lower())[-_SLUG_LENGTH:].strip("-") or "task"


def main() -> None:
    settings = TrainerSettings.model_validate_json(os.environ[SETTINGS_VARIABLE])
    configure(settings.log)
    parent = os.getppid()
    # Serving needs the cores more than training does.
    with threadpool_limits(1):
        trainer = Trainer(settings)
        # Cheap students need no encoder and should not wait for it.
        threading.Thread(target=trainer.prepare_encoder, daemon=True).start()
        trainer.run(lambda: os.getppid() != parent)


if __name__ == "__main__":
    main()
