"""How tasks, students, training and budgets stand, looked up for whoever scrapes the metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from config.settings import PolicySettings
from policies.promise import drift, interval
from router.budgets import Budgets
from router.keys.keyring import Keyring
from router.keys.limits import Limits
from router.models import Models
from telemetry import quality, runs
from telemetry.metrics import Metrics
from telemetry.metrics.standing import BudgetStanding, Standing, StudentStanding
from telemetry.quality import InService
from telemetry.store import Store
from telemetry.writer import Writer

PATIENCE_S = 1.0
"""How long a scrape waits for the store: beyond it, it is shown what was known before."""
SAMPLE_S = 0.25
"""Seconds between two looks at what a process alone knows, for scrapes that another answers."""

_WORDLESS = ("length", "language", "age", "rarity")
"""Kinds of slices whose names say nothing of the requests' texts."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the store tells."""

    students: list[StudentStanding]
    without: list[str]
    runs: list[runs.RunTally]
    sizes: dict[str, int]


class Watch:
    """Keeps the metrics told of what nobody counts."""

    def __init__(
        self,
        metrics: Metrics,
        store: Store,
        policy: PolicySettings,
        writer: Writer,
        models: Models,
        ring: Keyring,
        limits: Limits,
        budgets: Budgets,
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._policy = policy
        self._writer = writer
        self._models = models
        self._ring = ring
        self._limits = limits
        self._budgets = budgets
        self._slices: dict[str, Mapping[str, float]] = {}
        """By version: what a card says does not change."""
        self._looking: asyncio.Task[None] | None = None

    async def sample(self) -> None:
        """Tell what this process alone knows, and show what it has counted."""
        self._metrics.flush()
        self._metrics.backlog(self._writer.waiting, self._writer.lag_s())
        self._metrics.breakers(self._models.open_circuits())

    async def look(self) -> None:
        """Tell how all stands, as far as that is known within ``PATIENCE_S``."""
        await self.sample()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await asyncio.wait([self._looking], timeout=PATIENCE_S)

    async def _look(self) -> None:
        try:
            stored = await asyncio.to_thread(self._read)
            now = time.time()
            standing = Standing(
                stored.students,
                stored.without,
                stored.runs,
                stored.sizes,
                await self._key_budgets(now),
                await self._policy_budgets(now),
            )
        except Exception as error:
            _log.error("metrics show what was known before: %s", error)
        else:
            self._metrics.stand(standing)

    def _read(self) -> _Stored:
        engine = self._store.engine
        serving = quality.in_service(engine)
        unread = [one.version for one in serving if one.version not in self._slices]
        if unread:
            cards = quality.cards(engine, unread)
            self._slices = {
                one.version: self._slices.get(one.version) or _slices(cards.get(one.version, "{}"))
                for one in serving
            }
        return _Stored(
            [self._student(one) for one in serving],
            quality.without_student(engine),
            runs.tallies(engine),
            runs.sizes(engine),
        )

    def _student(self, one: InService) -> StudentStanding:
        alpha, delta = self._policy.alpha, self._policy.delta
        low, high = interval(one.audits, one.disagreements, delta)
        return StudentStanding(
            task=one.task,
            version=one.version,
            since=one.since,
            bound=1 - alpha,
            audits=one.audits,
            agreement=1 - one.disagreements / one.audits if one.audits else None,
            lower=1 - high,
            upper=1 - low,
            drift=drift(one.audits, one.disagreements, alpha, delta),
            slices=self._slices[one.version],
        )

    async def _key_budgets(self, now: float) -> list[BudgetStanding]:
        return [
            BudgetStanding(key.budget, await self._limits.left(key, now), key=key.id, name=key.name)
            for key in self._ring.valid(now)
            if key.budget is not None
        ]

    async def _policy_budgets(self, now: float) -> list[BudgetStanding]:
        return [
            BudgetStanding(
                account.total,
                await self._budgets.left(account, now),
                account.payer.task or "",
                account.payer.key or "",
            )
            for account in self._budgets.accounts()
        ]


def _slices(card: str) -> dict[str, float]:
    """Agreement by slice, as a student's card has it.

    Topics and answers go by words of the requests, and whoever can reach the server may scrape it.
    """
    figures = (orjson.loads(card).get("evaluation") or {}).get("slices", ())
    return {
        f"{each['kind']}: {each['name']}": each["agreement"]
        for each in figures
        if each["kind"] in _WORDLESS and each["agreement"] is not None
    }
