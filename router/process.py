"""What one server process is made of, and the order in which that starts and stops."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from config.settings import Settings, TraceSettings
from policies.scores import Scores
from router.answering import Answering
from router.conversations import Conversations
from router.endpoint import Engine
from router.errors import SHAPES
from router.keys.counters import Counters
from router.keys.failover import Failover
from router.keys.file import FileCounters
from router.keys.keyring import Keyring, is_loopback
from router.keys.limits import Limits
from router.ledger import CODES, Ledger
from router.load import Load
from router.models import Models
from router.polling import Background, keep_fresh
from router.precedence import Precedence
from router.routing import Routing
from router.spending.budgets import Budgets
from router.spending.paying import Paying
from router.standing import Standings
from router.students.audit import Auditor
from router.students.repeats import Repeats
from router.students.rollout import Rollouts
from router.students.serving import Students
from router.students.tryouts import Tryouts
from router.watch import Watch
from telemetry.exchange import PICO
from telemetry.keys import Keys
from telemetry.logs import requests
from telemetry.metrics import Metrics
from telemetry.rollup import roll_up
from telemetry.store import Store
from telemetry.tolls import newest
from telemetry.writer import Writer

if TYPE_CHECKING:
    from telemetry.traces import Traces

SUM_UP_S = 60.0
"""How often the sums of exchanges are brought up to date."""
SUMMED_AT_ONCE = 20
"""Transactions that this may take each time, so that a server can stop soon."""

READERS = 4
"""Threads that read the store for callers and in the background. Fewer than its connections, so
that what is written, and who may ask and serve, never waits for theirs."""

REMEMBERED = 5000
"""Exchanges that the scorers learn from when the server starts."""

_log = logging.getLogger(__name__)


class Process:
    """The parts of a process as its ``settings`` ask for them; none has started."""

    def __init__(self, settings: Settings) -> None:
        self.store = store = Store(settings.data, settings.database)
        self.metrics = Metrics(codes=CODES, statuses={shape.status for shape in SHAPES.values()})
        self.models = models = Models(settings)
        self.scores = Scores()
        self.keys = Keys(store)
        self.ring = Keyring(self.keys, closed=not is_loopback(settings.host))
        self._writer = Writer(store, settings.workers)
        counters = _counters(settings)
        self._limits = Limits(self.keys, self.ring, counters)
        self._budgets = Budgets(store, counters)
        self._students = Students(store, settings.data, models.hosted)
        self._traces = _traces(settings.traces, models)
        load = Load(settings.limits.in_flight)
        self.ledger = Ledger(
            self._writer,
            self.metrics,
            self.scores,
            models.teacher,
            self._limits,
            self._budgets,
            self._traces,
            load,
        )
        self._conversations = Conversations(settings.data)
        self._rollouts = Rollouts(settings.loop.rollout, settings.policy, store, self._students)
        bars = settings.policies.bars
        self._tryouts = Tryouts(settings.hosted, models.hosted, bars, store, self.ledger)
        self._auditor = Auditor(
            models.chain,
            settings.policy,
            store,
            self._students,
            self._rollouts,
            self.ledger,
            self._tryouts,
        )
        self._repeats = Repeats(models.chain, settings.dataset.repeats, self.ledger)
        paying = Paying(self._budgets)
        routing = Routing(
            models,
            settings.policy,
            Precedence(settings, self._budgets),
            bars,
            self._conversations,
            paying,
            self._students,
            self._rollouts,
            self.scores,
            settings.compute_usd_per_hour * PICO / 3600,
        )
        answering = Answering(
            self.scores,
            self.ledger,
            self._auditor,
            self._rollouts,
            self._tryouts,
            self._repeats,
            paying,
            settings.teacher_logprobs,
        )
        largest_body = round(settings.limits.body_mb * 1e6)
        self.engine = Engine(
            models, routing, answering, self._limits, load, self.metrics, largest_body
        )
        standings = Standings(
            store, settings.policy, self.ring, self._limits, self._budgets, models
        )
        self.watch = Watch(self.metrics, load, self._writer, models, standings)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Start the parts, and stop them afterwards; what is under way is written down first."""
        readers = ThreadPoolExecutor(READERS, "store-reader")
        asyncio.get_running_loop().set_default_executor(readers)
        summing = Background()
        await self.ring.start()
        await self.models.start()
        await self._students.start()
        self._rollouts.start()
        await self._budgets.start()
        self.watch.start()
        summing.start(keep_fresh(self._sum_up, SUM_UP_S, "the sums of exchanges"))
        remembering = asyncio.create_task(asyncio.to_thread(self._remember))
        yield
        await self.watch.stop()
        await remembering
        await summing.stop()
        await asyncio.gather(self._auditor.finish(), self._repeats.finish())
        await self._rollouts.stop()
        await self._tryouts.finish()
        await self._students.stop()
        await self.models.close()
        await self.ring.stop()
        await self._budgets.stop()
        await self._limits.close()
        await self._writer.close()
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)
        self._conversations.close()
        self.store.close()
        requests.flush()

    async def _sum_up(self) -> None:
        await asyncio.to_thread(roll_up, self.store.engine, time.time(), SUMMED_AT_ONCE)

    def _remember(self) -> None:
        """Let the scorers learn what was known before the server's restart."""
        try:
            self.scores.remember(newest(self.store.engine, REMEMBERED))
        except Exception:
            _log.exception("the scorers start afresh")


def _traces(settings: TraceSettings, models: Models) -> Traces | None:
    """What sends traces, where a collector is set."""
    if settings.endpoint is None:
        return None
    # Its libraries take longer to import than a server without them should wait.
    from telemetry.traces import Traces

    return Traces(settings, models.provider)


def _counters(settings: Settings) -> Counters:
    """Where the limits of keys are counted."""
    local = FileCounters(settings.data)
    if settings.redis is None:
        return local
    # Its client takes longer to import than all of the server's start.
    from router.keys.redis import RedisCounters

    return Failover(RedisCounters(settings.redis.get_secret_value()), local)
