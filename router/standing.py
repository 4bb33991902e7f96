"""How tasks, students, training and budgets stand, by the store and the counters of budgets."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from config.settings import PolicySettings
from distill.card import Card
from policies.promise import drift, interval
from router.keys.keyring import Keyring
from router.keys.limits import Limits
from router.models import Models
from router.spending.budgets import Budgets
from telemetry import changes, quality, runs
from telemetry.audits import AuditBlocks
from telemetry.changes import ChangeTally
from telemetry.exchange import Stage
from telemetry.metrics.standing import BudgetStanding, Standing, StudentStanding
from telemetry.quality import InService
from telemetry.store import Store

_WORDLESS = ("length", "language", "age", "rarity")
"""Kinds of slices whose names say nothing of the requests' texts."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the store tells."""

    students: list[StudentStanding]
    without: list[str]
    coming: dict[str, Stage]
    runs: list[runs.RunTally]
    changes: list[ChangeTally]
    sizes: dict[str, int]


class Standings:
    """Looks up how all stands."""

    def __init__(
        self,
        store: Store,
        policy: PolicySettings,
        ring: Keyring,
        limits: Limits,
        budgets: Budgets,
        models: Models,
    ) -> None:
        self._store = store
        self._policy = policy
        self._ring = ring
        self._limits = limits
        self._budgets = budgets
        self._models = models
        self._audits: dict[str, AuditBlocks] = {}
        self._cards: dict[str, Card] = {}
        """By version: what a card says does not change."""

    async def now(self) -> Standing:
        """Raises StoreUnavailableError, or what the database raises."""
        stored = await asyncio.to_thread(self._read)
        now = time.time()
        return Standing(
            stored.students,
            stored.without,
            stored.coming,
            stored.runs,
            stored.changes,
            stored.sizes,
            await self._key_budgets(now),
            await self._policy_budgets(now),
            self._models.price_changes(),
        )

    def _read(self) -> _Stored:
        engine = self._store.engine
        serving = quality.in_service(engine, self._audits)
        self._audits = {one.version: one.audits for one in serving}
        unread = [one.version for one in serving if one.version not in self._cards]
        if unread:
            read = {name: Card.parse(text) for name, text in quality.cards(engine, unread).items()}
            known = self._cards | read
            self._cards = {one.version: known.get(one.version, Card()) for one in serving}
        return _Stored(
            [self._student(one) for one in serving],
            quality.without_student(engine),
            quality.coming(engine),
            runs.tallies(engine),
            changes.tallies(engine),
            runs.sizes(engine),
        )

    def _student(self, one: InService) -> StudentStanding:
        alpha, delta = self._policy.alpha, self._policy.delta
        seen = one.audits.total
        low, high = interval(seen.audits, seen.disagreements, delta)
        card = self._cards[one.version]
        return StudentStanding(
            task=one.task,
            version=one.version,
            since=one.since,
            bound=1 - alpha,
            audits=seen.audits,
            agreement=1 - seen.disagreements / seen.audits if seen.audits else None,
            lower=1 - high,
            upper=1 - low,
            drift=drift(one.audits, strata=len(card.gate.floors), alpha=alpha, delta=delta),
            slices=_agreement(card),
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
                account.budget,
                await self._budgets.left(account, now),
                account.payer.task or "",
                account.payer.key or "",
            )
            for account in self._budgets.accounts()
        ]


def _agreement(card: Card) -> dict[str, float]:
    """Agreement by slice, as a student's card has it.

    Topics and answers go by words of the requests, and whoever can reach the server may scrape it.
    """
    return {
        f"{each.kind}: {each.name}": each.agreement
        for each in card.slices
        if each.kind in _WORDLESS and each.agreement is not None
    }
