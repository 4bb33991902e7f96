"""A job while a trainer works on it: its claim is kept, what happens is written down, and a
cancellation is seen between two steps."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Self

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from distill.card import Card
from telemetry import jobs
from telemetry.exchange import StudentRecord
from telemetry.jobs import Job, Level

_RENEW_S = jobs.CLAIM_S / 5

_log = logging.getLogger(__name__)


class CancelledError(Exception):
    """The job was cancelled, or another trainer has it."""


class Progress:
    """Holds ``job``; use as a context manager."""

    def __init__(self, engine: Engine, job: Job) -> None:
        self.job = job
        self._engine = engine
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._hold, name="job-claim", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()

    def step(self) -> None:
        """Between two steps. Raises CancelledError."""
        if not jobs.renew(self._engine, self.job, time.time()):
            raise CancelledError(f"{self.job.id} was cancelled or taken over")

    def tell(
        self, message: str, *, level: Level = "info", data: Mapping[str, Any] | None = None
    ) -> None:
        jobs.tell(self._engine, self.job, message, time.time(), level=level, data=data)

    def close(self, record: StudentRecord) -> None:
        """End the job with the student that was trained, or with why none was."""
        card = Card.parse(record.card)
        if not card.rungs:
            self.fail(record.verdict)
            return
        self.tell("The gate's figures", data=asdict(card.gate))
        if record.serving:
            self.tell(f"{record.version} was promoted: {record.verdict}.")
        elif record.stage is not None:
            self.tell(f"{record.version} passed the gate, its {record.stage} begins.")
        else:
            why = record.verdict
            if (card.data.evidence or 0) < (card.data.answers or 0):
                why += ". Imported examples are no evidence of how often a student is right"
            self.tell(f"{record.version} was trained, but does not serve: {why}.", level="warn")
        student = record.version
        jobs.finish(self._engine, self.job, "succeeded", time.time(), student=student)

    def complete(self, message: str) -> None:
        """End the job, whose end no student is."""
        self.tell(message)
        jobs.finish(self._engine, self.job, "succeeded", time.time())

    def discard(self) -> None:
        """Forget the job: there was no reason for a run."""
        jobs.discard(self._engine, self.job)

    def fail(self, reason: str) -> None:
        """End the job without a student."""
        if jobs.finish(self._engine, self.job, "failed", time.time(), error=reason):
            self.tell(f"The job failed: {reason}.", level="error")

    def _hold(self) -> None:
        while not self._over.wait(_RENEW_S):
            try:
                jobs.renew(self._engine, self.job, time.time())
            except DBAPIError as error:
                _log.warning("the claim of %s was not renewed: %s", self.job.id, error.orig)
