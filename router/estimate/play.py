"""Plays spooled requests, each task on its own, in processes of their own."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from threadpoolctl import threadpool_limits

from config.settings import Settings
from distill.forecast import Play
from distill.students.encoder import SentenceEncoder
from router.estimate.figures import POINTS, Figures, Tally, TaskFigures
from router.estimate.logged import EstimateError
from router.estimate.spool import Spooled, read

_AT_ONCE = 64
"""Requests of a task that are played together."""
_TELL_S = 0.25

_played: Any = None
"""In a worker process: the number of requests that all workers have played."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is the same for all tasks."""

    settings: Settings
    encoder_cache: Path | None
    """Where the sentence encoder is kept; None goes without."""
    tune: bool
    """Whether encoders are tuned to tasks."""
    seed: int
    requests: int
    """In all tasks together."""


class _Task:
    """One task on its way."""

    def __init__(
        self, name: str, rules: Rules, encoder: SentenceEncoder | None, tuned: Path | None
    ) -> None:
        self._figures = TaskFigures(name)
        self._requests = rules.requests
        # The task's own, so that it does not matter what is played beside it.
        self._play = Play(rules.settings, encoder, Random(f"{rules.seed} {name}"), tuned)
        self._waiting: list[Spooled] = []

    def add(self, spooled: Spooled) -> None:
        self._waiting.append(spooled)
        if len(self._waiting) == _AT_ONCE:
            self._go_on()

    def finish(self) -> TaskFigures:
        self._go_on()
        self._figures.promotions = self._play.promotions
        self._figures.demotions = self._play.demotions
        self._figures.verdict = self._play.verdict
        return self._figures

    def _go_on(self) -> None:
        steps = self._play.run([spooled.request for spooled in self._waiting])
        for spooled, step in zip(self._waiting, steps, strict=True):
            part = spooled.place * POINTS // self._requests
            self._figures.parts.setdefault(part, Tally()).add(step, spooled.teacher_cost)
        if _played is not None:
            with _played.get_lock():
                _played.value += len(steps)
        self._waiting.clear()


def play_file(path: Path, rules: Rules) -> list[TaskFigures]:
    """Play the tasks of one of a spool's files."""
    encoder = None
    if rules.encoder_cache is not None and rules.settings.loop.encoder is not None:
        name = rules.settings.loop.encoder
        encoder = SentenceEncoder.open(name, rules.encoder_cache, remember=True)
    tasks: dict[str, _Task] = {}
    with threadpool_limits(1), TemporaryDirectory(prefix="protege-tuned-") as scratch:
        tuned = Path(scratch) if rules.tune else None
        for spooled in read(path):
            if spooled.task not in tasks:
                tasks[spooled.task] = _Task(spooled.task, rules, encoder, tuned)
            tasks[spooled.task].add(spooled)
        return [task.finish() for task in tasks.values()]


def play_files(
    files: Sequence[Path], rules: Rules, workers: int, tell: Callable[[int], None]
) -> Figures:
    """Play all files; ``tell`` hears from time to time how many requests have been played.

    Raises EstimateError if a process dies.
    """
    # A fresh process each: the caller's may have threads, which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    played = context.Value("q", 0)
    pool = ProcessPoolExecutor(min(workers, len(files)), context, _begin, (played,))
    with pool:
        futures = [pool.submit(play_file, path, rules) for path in files]
        try:
            while _waiting(futures):
                tell(played.value)
            tasks = [task for future in futures for task in future.result()]
        except BrokenProcessPool as error:
            raise EstimateError("a process that played the logs has died") from error
        except BaseException:
            # Nobody waits for what the others are at.
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    tell(played.value)
    return Figures(sorted(tasks, key=lambda task: (-task.sums.requests, task.task)))


def _waiting(futures: Sequence[Future[list[TaskFigures]]]) -> bool:
    return bool(wait(futures, _TELL_S, return_when="FIRST_EXCEPTION").not_done) and not any(
        future.done() and future.exception() for future in futures
    )


def _begin(played: Any) -> None:
    """In a new worker process."""
    global _played
    _played = played
    # Whoever is stopped by Ctrl-C needs no traceback of each process.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
