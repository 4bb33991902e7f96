"""Tryouts: hosted models are asked what the teacher has answered, after the caller has its answer.

For a random share of a task's requests, whoever answered them, and for no more USD a day than is
set. What comes of it is the evidence by which such a model earns the task (docs/hosted.md).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping

from config.settings import HostedSettings
from policies.agreement import agree
from policies.rules import needs_teacher
from router.errors import UpstreamError
from router.ledger import Ledger
from router.models import Model
from router.students.beside import Beside, ask_beside
from router.turn import Opinion, Turn
from router.upstreams.answer import Answer
from telemetry import tryouts
from telemetry.exchange import PICO
from telemetry.keys import period_start
from telemetry.store import Store
from telemetry.tryouts import Tryout
from telemetry.writer import UNSTORED

AT_ONCE = 16
"""Tryouts under way at the same time: callers go first."""
WAITING = 200
"""Tryouts under way or waiting; beyond it a request goes without."""

FINISH_S = 10.0
"""How long tryouts may take to finish when the server stops."""

FRESH_S = 5.0
"""How long it is taken for true what was spent today."""

_log = logging.getLogger(__name__)


class Tryouts:
    """Tries hosted models in the background."""

    def __init__(
        self,
        settings: HostedSettings,
        models: Mapping[str, Model],
        barred: Callable[[str], bool],
        store: Store,
        ledger: Ledger,
    ) -> None:
        self._share = settings.share
        self._tasks_of = {model.model: model.tasks for model in settings.models}
        self._models = models
        self._barred = barred
        self._engine = store.engine
        self._ledger = ledger
        self._purse = _Purse(round(settings.usd_per_day * PICO))
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._under_way = Beside(WAITING)

    def start(self, turn: Turn, teacher: Answer) -> None:
        """Try the models, or some of them, on a request that the ``teacher`` has answered."""
        if not self._models or not self._is_fit(turn, teacher):
            return
        propensity = turn.decision.propensity if turn.decision else 1.0
        # So that every request is as likely as any other to be tried, as far as that can be.
        chance = min(1.0, self._share / propensity) if propensity else 0.0
        opinion = turn.opinion
        done = None if turn.route == "teacher" or opinion is None else opinion.prediction.asks
        for name, model in self._models.items():
            tasks = self._tasks_of[name]
            if name == done or not (tasks is None or turn.task in tasks):
                continue
            if random.random() < chance:
                self._under_way.begin(self._try(turn, teacher.text or "", name, model, chance))

    async def audited(self, turn: Turn, opinion: Opinion, agreed: bool) -> None:
        """Note what an audit says of a hosted model: it is a tryout that costs nothing more."""
        name = opinion.prediction.asks
        if name is not None and turn.request.store:
            tryout = Tryout(
                exchange=turn.arrival.id,
                model=name,
                created=turn.arrival.created,
                task=turn.task,
                agreed=agreed,
                chance=1.0,
                cost=opinion.cost,
                extra=False,
                latency_s=turn.upstream_s,
            )
            await self._ledger.record_tryout(turn, tryout)

    async def finish(self) -> None:
        """Wait for the tryouts under way, and give up those that take too long."""
        await self._under_way.finish(FINISH_S)

    def _is_fit(self, turn: Turn, teacher: Answer) -> bool:
        """Whether a student could have answered, and its answer can be compared and learnt from."""
        request = turn.request
        complete = teacher.finish_reason == "stop" and teacher.text is not None
        may = request.store and not self._barred(turn.task)
        return complete and may and needs_teacher(request.body) is None

    async def _try(self, turn: Turn, said: str, name: str, model: Model, chance: float) -> None:
        async with self._slots:
            try:
                if not await self._purse.allows(self._spent_since):
                    return
                started = time.perf_counter()
                answer = (await ask_beside((model,), turn)).value
                took_s = time.perf_counter() - started
                usage = self._ledger.usage(turn, model, answer)
                complete = answer.finish_reason == "stop" and answer.text is not None
                tryout = Tryout(
                    exchange=turn.arrival.id,
                    model=name,
                    created=turn.arrival.created,
                    task=turn.task,
                    agreed=complete and agree(answer.text or "", said),
                    chance=chance,
                    cost=model.price.cost(usage),
                    extra=True,
                    latency_s=took_s,
                )
                self._purse.spend(tryout.cost)
                await self._ledger.record_tryout(turn, tryout)
            except UpstreamError as error:
                _log.info("a tryout of %s on task %s failed: %s", name, turn.task, error)
            except UNSTORED as error:
                _log.error(
                    "a tryout of %s on task %s could not be stored: %s", name, turn.task, error
                )
            except Exception:
                _log.exception("a tryout of %s on task %s failed", name, turn.task)

    async def _spent_since(self, since: float) -> int:
        return await asyncio.to_thread(tryouts.spent, self._engine, since)


class _Purse:
    """What may be spent in a day. All processes look at what the store says was spent, so that no
    more is spent beyond it than in ``FRESH_S`` and on what is under way."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._spent = 0
        self._read_at = float("-inf")

    async def allows(self, spent_since: Callable[[float], Awaitable[int]]) -> bool:
        """Whether there is any left. ``spent_since`` reads what was spent from a Unix time on."""
        now = time.monotonic()
        if now - self._read_at > FRESH_S:
            self._read_at = now
            self._spent = await spent_since(period_start("day", time.time()))
        return self._spent < self._total

    def spend(self, amount: int) -> None:
        self._spent += amount
