"""Audits: the teacher is asked what a student has answered, after the caller has its answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from config.settings import PolicySettings
from policies.agreement import agree
from policies.promise import Breach, breach
from router.errors import UpstreamError
from router.ledger import Ledger
from router.models import Model
from router.students.beside import Beside, ask_beside
from router.students.rollout import Rollouts
from router.students.serving import Student, Students
from router.students.tryouts import Tryouts
from router.turn import Opinion, Turn
from telemetry.store import Audit, Store
from telemetry.writer import UNSTORED

AT_ONCE = 32
"""Audits under way at the same time: callers go first."""
WAITING = 1000
"""Audits under way or waiting; beyond it a student answer goes without."""

FINISH_S = 30.0
"""How long audits may take to finish when the server stops."""

_log = logging.getLogger(__name__)


class Auditor:
    """Audits in the background, and takes a student out of service that breaks its promise."""

    def __init__(
        self,
        chain: Sequence[Model],
        policy: PolicySettings,
        store: Store,
        students: Students,
        rollouts: Rollouts,
        ledger: Ledger,
        tryouts: Tryouts,
    ) -> None:
        self._chain = chain
        self._policy = policy
        self._store = store
        self._students = students
        self._rollouts = rollouts
        self._ledger = ledger
        self._tryouts = tryouts
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._under_way = Beside(WAITING)

    def start(
        self, turn: Turn, opinion: Opinion, stored: asyncio.Future[None], predicted: int
    ) -> None:
        """Audit an exchange once it is ``stored``, for which the teacher is ``predicted`` to take
        so many picodollars."""
        turn.audited = self._under_way.begin(self._audit(turn, opinion, stored, predicted))
        if not turn.audited:
            _log.warning("too many audits are waiting: one is left out")

    async def finish(self) -> None:
        """Wait for the audits under way, and give up those that take too long."""
        await self._under_way.finish(FINISH_S)

    async def _audit(
        self, turn: Turn, opinion: Opinion, stored: asyncio.Future[None], predicted: int
    ) -> None:
        try:
            await asyncio.wait([stored])
            if stored.exception() is not None:
                return
            async with self._slots:
                # A promise that was kept before is not broken by one more that agrees.
                if await self._agrees(turn, opinion, predicted) is False:
                    await self._judge(turn.task, opinion.student)
                self._rollouts.audited(turn.task)
        except UpstreamError as error:
            _log.info("an audit of task %s failed: %s", turn.task, error)
        except UNSTORED as error:
            _log.error("an audit of task %s could not be stored or judged: %s", turn.task, error)
        except Exception:
            _log.exception("an audit of task %s failed", turn.task)
        finally:
            await self._ledger.budgets.give_back_audit(turn)

    async def _agrees(self, turn: Turn, opinion: Opinion, predicted: int) -> bool | None:
        """Ask the teacher too, and write down whether it says the same; None where it has not said
        anything to compare."""
        started = time.perf_counter()
        answered = await ask_beside(self._chain, turn)
        said = answered.value
        took_s = time.perf_counter() - started
        if said.usage is not None and said.finish_reason is not None:
            model = answered.model.upstream.model
            self._ledger.learn(turn, "teacher", model, said.usage, took_s, None)
        # A truncated or filtered answer teaches nobody, and says nothing for or against a student:
        # the gate and the shadow leave such requests out too.
        text = said.text if said.finish_reason == "stop" else None
        audit = Audit(
            id=turn.arrival.id,
            teacher_answer=text if turn.request.store else None,
            agreed=None if text is None else agree(opinion.prediction.answer, text),
            audit_cost=answered.model.price.cost(self._ledger.usage(turn, answered.model, said)),
            audit_latency_s=took_s,
            audited=time.time(),
        )
        self._rollouts.beside(turn, text)
        await self._ledger.record_audit(turn, audit, predicted)
        if audit.agreed is not None:
            await self._tryouts.audited(turn, opinion, audit.agreed)
        self._tryouts.start(turn, said)
        return audit.agreed

    async def _judge(self, task: str, student: Student) -> None:
        found = await asyncio.to_thread(self._breach, student)
        if found is None:
            return
        demote = self._store.roster.demote
        if await asyncio.to_thread(demote, task, student.version, f"demoted: {found}", time.time()):
            await self._students.refresh()

    def _breach(self, student: Student) -> Breach | None:
        audits = self._store.audit_blocks(student.version)
        return breach(audits, student.strata, self._policy.alpha, self._policy.delta)
