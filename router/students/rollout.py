"""Students on their way into service: asked in the background, then for a part of the requests.

What is seen of them goes to the store, and so do all steps that follow, so that they survive a
restart and hold for every process.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time

from config.settings import PolicySettings, RolloutSettings
from policies.agreement import agree
from policies.rollout import Step, share, step
from policies.rules import needs_teacher
from router.polling import Background, keep_fresh
from router.students.beside import Beside
from router.students.serving import Coming, Student, Students
from router.turn import Opinion, Turn
from telemetry import trials
from telemetry.exchange import StudentRecord
from telemetry.store import Store
from telemetry.trials import Trial
from telemetry.writer import UNSTORED

SETTLE_S = 0.25
"""How often what was seen is written down and judged."""
MOST_SEEN = 10_000
"""What was seen and could not be written down, the newest of it, while the store is away."""
AT_ONCE = 32
"""Questions in the shadow under way at the same time: what comes meanwhile goes without."""

_log = logging.getLogger(__name__)


class Rollouts:
    """Chooses the requests that a coming student is asked about, and watches what it does."""

    def __init__(
        self,
        settings: RolloutSettings,
        policy: PolicySettings,
        store: Store,
        students: Students,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._store = store
        self._students = students
        self._seen: list[Trial] = []
        self._changed: set[str] = set()
        """Tasks of whose coming student there is something new to know."""
        self._answered: dict[str, int] = {}
        """By version: answers that a coming student has given, as far as this process looked."""
        self._asking = Beside(AT_ONCE)
        self._work = Background()
        self.audit_rate = max(policy.audit_rate, settings.audit_rate)
        """Share of a canary's answers for which the teacher is asked too."""

    def start(self) -> None:
        self._work.start(keep_fresh(self._settle, SETTLE_S, "students on their way into service"))

    async def stop(self) -> None:
        await self._work.stop()
        self._asking.give_up()
        try:
            await self._settle()
        except UNSTORED as error:
            # Others have things to write down too.
            _log.error("what was seen of students on their way into service is lost: %s", error)

    def drawn(self, task: str) -> Coming | None:
        """The canary, if chance gives it this request of ``task``."""
        coming = self._students.coming(task)
        if coming is None or coming.record.stage != "canary":
            return None
        part = share(self._settings, self._answered.get(coming.record.version, 0))
        # Chance knows nothing of the request: what is inferred of either part holds for all.
        return coming if random.random() < part else None

    def canary(self, task: str) -> Student | None:
        """The canary, for who insists on a student."""
        coming = self._students.coming(task)
        return coming.student if coming and coming.record.stage == "canary" else None

    def failed(self, coming: Coming, exchange: str) -> None:
        """Note that a student could not say anything."""
        assert coming.record.stage is not None, "a coming student is at some stage"
        self._note(
            coming.record.task, Trial(coming.record.version, coming.record.stage, exchange, True)
        )

    def tried(self, canary: Coming, turn: Turn, opinion: Opinion) -> None:
        """Note what the canary said of a request, whether or not its caller gets it."""
        trial = Trial(
            canary.record.version,
            "canary",
            turn.arrival.id,
            took_s=opinion.took_s,
            answered=turn.route == "student",
        )
        self._note(turn.task, trial)

    def audited(self, task: str) -> None:
        """Note that an audit of an answer to ``task`` is over."""
        if self._students.coming(task) is not None:
            self._changed.add(task)

    def beside(self, turn: Turn, said: str | None) -> None:
        """Ask a student in the shadow about a request that others have answered.

        ``said`` is what the teacher, asked at once or afterwards, answered; None where it was not.
        """
        coming = self._students.coming(turn.task)
        if coming is None or coming.record.stage != "shadow" or turn.route == "model":
            return
        request = turn.request
        if needs_teacher(request.body) or coming.student.unfamiliar(request.prompt):
            return
        # The teacher sees more of what is hard, but chance alone decides what is sampled.
        self._asking.begin(self._ask(coming, turn, said if turn.sampled else None))

    async def _ask(self, coming: Coming, turn: Turn, said: str | None) -> None:
        student = coming.student
        started = time.perf_counter()
        try:
            prediction = (await student.predict(turn.request.prompt.text)).prediction
        except Exception:
            _log.exception("student %s failed", student.version)
            self.failed(coming, turn.arrival.id)
            return
        answered = prediction.confidence >= student.threshold
        trial = Trial(
            student.version,
            "shadow",
            turn.arrival.id,
            took_s=time.perf_counter() - started,
            answered=answered,
            agreed=agree(prediction.answer, said) if answered and said is not None else None,
        )
        self._note(turn.task, trial)

    def _note(self, task: str, trial: Trial) -> None:
        self._seen.append(trial)
        self._changed.add(task)

    async def _settle(self) -> None:
        """Write down what was seen, and take the steps that follow from it."""
        if not self._changed:
            return
        seen, changed = self._seen, self._changed
        self._seen, self._changed = [], set()
        try:
            stepped = await asyncio.to_thread(self._judge, seen, changed)
        except Exception:
            self._seen = (seen + self._seen)[-MOST_SEEN:]
            self._changed |= changed
            raise
        if stepped:
            await self._students.refresh()

    def _judge(self, seen: list[Trial], changed: set[str]) -> bool:
        """Whether any student has come to another place. Blocks."""
        if seen:
            trials.add(self._store.engine, seen)
            seen.clear()
        stepped = False
        for task in changed:
            coming = self._students.coming(task)
            if coming is not None:
                stepped |= self._step(coming.record)
        return stepped

    def _step(self, record: StudentRecord) -> bool:
        assert record.stage is not None, "a coming student is at some stage"
        slow_s = self._settings.latency_s
        tally = trials.tally(self._store.engine, record.version, record.stage, slow_s)
        next_ = step(record.stage, tally, self._settings, self._policy)
        if next_ is None:
            self._answered[record.version] = tally.answered
            return False
        self._answered.pop(record.version, None)
        return self._take(record, next_)

    def _take(self, record: StudentRecord, step: Step) -> bool:
        """Take a step; False where another process was faster."""
        store, task, version = self._store, record.task, record.version
        passed = f"{record.verdict}; {record.stage}: {step.why}"
        if step.to == "full":
            return store.roster.advance(record, None, passed, time.time())
        if step.to == "canary":
            return store.roster.advance(record, step.to, passed, time.time())
        if step.to == "out":
            return store.roster.turn_back(
                task, version, f"turned back in the {record.stage}: {step.why}"
            )
        verdict = f"demoted in the {record.stage}: {step.why}"
        return store.roster.demote(task, version, verdict, time.time())
