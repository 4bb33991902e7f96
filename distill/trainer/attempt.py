"""One attempt at a job: what it may save and what it costs, and what follows where it fails."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from distill.data.on_record import MOST_ANSWERS
from distill.trainer.handover import TrainerSettings
from distill.trainer.progress import CancelledError, Progress
from distill.trainer.worth import Worth, expected
from telemetry import jobs, runs
from telemetry.exchange import PICO
from telemetry.jobs import Job
from telemetry.runs import Outcome, TrainingRun
from telemetry.store import Store

logger = logging.getLogger("protege.trainer")


@dataclass(slots=True)
class Attempt:
    """A job that a trainer is at."""

    store: Store
    progress: Progress
    answers: int
    """Teacher answers that its task has."""
    expected: Worth | None = None
    """None where it is not known what it costs."""

    @property
    def job(self) -> Job:
        return self.progress.job

    def pays(self) -> bool:
        """Whether the loop should go on with it. If not, it is over."""
        if self.expected is None:
            return True
        self.progress.tell(f"Expected: {self.expected.in_words()}.")
        if self.expected.pays or self.job.origin != "loop":
            return True
        self.progress.fail(f"not trained: {self.expected.in_words()}")
        return False

    def put_off(self) -> None:
        """Let its task wait as if it had been trained."""
        if self.job.model == "encoder":
            return
        self.store.roster.put_off(self.job.task, self.answers, self.job.created, time.time())


Work = Callable[[Attempt], Outcome | None]
"""Does a job; what it came to, None where there was nothing to do. Raises CancelledError."""


class Attempts:
    """Those of one trainer; may be used from several threads."""

    def __init__(self, store: Store, settings: TrainerSettings) -> None:
        self._store = store
        self._loop = settings.loop
        self._price = settings.compute_usd_per_hour * PICO / 3600
        """Picodollars per second of a processor."""

    def make(self, job: Job, answers: int, work: Work) -> None:
        """Do a job whose task has so many answers; a task whose job fails waits for its next turn,
        so that others get theirs."""
        started, before_s = time.monotonic(), _cpu_s(job)
        with Progress(self._store.engine, job) as progress:
            attempt = Attempt(self._store, progress, answers)
            outcome = self._outcome(attempt, work)
        if outcome is not None:
            self._account(attempt, outcome, time.monotonic() - started, _cpu_s(job) - before_s)

    def _outcome(self, attempt: Attempt, work: Work) -> Outcome | None:
        """What doing the job came to; None where nothing is to be told of it."""
        try:
            attempt.expected = expected(
                self._store.engine, attempt.job, self._loop, self._price, time.time()
            )
            return work(attempt)
        except CancelledError as cancelled:
            logger.info("%s", cancelled)
            attempt.put_off()
            return None
        except Exception as error:
            logger.exception("training %s failed", attempt.job.task)
            attempt.progress.fail(f"{type(error).__name__}; the log says more")
            attempt.put_off()
            return "failed"

    def _account(self, attempt: Attempt, outcome: Outcome, took_s: float, cpu_s: float) -> None:
        run = TrainingRun(
            attempt.job.task,
            time.time(),
            took_s,
            outcome,
            min(attempt.answers, MOST_ANSWERS),
            attempt.job.model,
            cpu_s,
            round(cpu_s * self._price),
            None if attempt.expected is None else attempt.expected.saving,
        )
        runs.add(self._store.engine, run)


def _cpu_s(job: Job) -> float:
    """Seconds of a processor that this thread has taken so far; and, of what takes minutes, the
    processes that it is made in."""
    if job.model not in jobs.ASIDE:
        return time.thread_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.thread_time() + children.ru_utime + children.ru_stime
