"""Budgets of the ``budget`` policy: what is left of each, and what of it each request holds.

Whatever might be spent is held before it is, so that a budget is never exceeded: for an answer of
the teacher's, as much as it is expected to cost times the most by which any has been dearer than
expected. The counters are those of keys' limits: shared by all processes, told by the store what
was spent before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import xxhash
from sqlalchemy.exc import SQLAlchemyError

from config.settings import BudgetSettings
from policies.budget import Budget
from policies.pacing import SLOT_S, Demand
from router.errors import StoreUnavailableError
from router.keys.counters import Counters, Sum
from router.keys.settling import Settling
from router.polling import Background, keep_fresh
from router.turn import Turn
from telemetry import spending
from telemetry.exchange import PICO, Exchange
from telemetry.keys import period_end, period_start
from telemetry.spending import Payer
from telemetry.store import Store

POLL_S = 15.0
"""Seconds between two looks at how much is asked for."""
SHARE_S = 1.0
"""Seconds for which the share that can be paid is good."""
HISTORY_S = 8 * 86400
DEARER = 2.0
"""How many times what is expected an answer may cost, as long as none was seen that cost more."""

MOST_DEARER = 10.0
"""One answer that cost more must not have the rest of a budget held for ever."""

_log = logging.getLogger(__name__)


class Account:
    """One budget, which the counters count as they do keys: of money alone."""

    requests_per_minute = None
    tokens_per_minute = None

    def __init__(self, settings: BudgetSettings, payer: Payer) -> None:
        self.policy = Budget()
        self.payer = payer
        digits = xxhash.xxh3_64_hexdigest(f"budget\0{payer.task}\0{payer.key}".encode())
        # Of the form that the counters know, and lasting: what they hold outlives the process.
        self.id = f"key_{digits}"
        self.budget = round(settings.usd * PICO)
        """Picodollars of a period."""
        self.period = settings.period
        self.demand = Demand()
        self.dearer = DEARER
        self.seen_until = 0.0
        """Unix time until which the store's demand is known."""
        self.share_until = 0.0
        """Until when the policy's share is good, by ``time.monotonic``."""

    def start(self, now: float) -> int:
        return period_start(self.period, now)

    def end(self, now: float) -> int:
        return period_end(self.period, now)


@dataclass(frozen=True, slots=True)
class _Hold:
    account: Account
    expected: int
    amount: int
    period: int
    """Unix time at which the period began that it is held in: a request may be older than that."""
    counted_in: Sum


class Budgets:
    """All budgets of the settings."""

    def __init__(self, store: Store, counters: Counters) -> None:
        self._engine = store.engine
        self._counters = counters
        self._accounts: dict[Payer, Account] = {}
        self._answers: dict[str, _Hold] = {}
        self._audits: dict[str, _Hold] = {}
        self._settling = Settling(counters)
        self._poll = Background()

    def open(self, settings: BudgetSettings, payer: Payer) -> Account:
        """The budget for what ``payer`` spends."""
        account = Account(settings, payer)
        self._accounts[payer] = account
        return account

    def accounts(self) -> Iterable[Account]:
        """All that are open."""
        return self._accounts.values()

    async def left(self, account: Account, now: float) -> int:
        """Picodollars that are neither spent nor held. Raises StoreUnavailableError."""
        return max(account.budget - await self._spent(account, now), 0)

    async def start(self) -> None:
        if self._accounts:
            self._poll.start(self._keep_looking())

    async def stop(self) -> None:
        await self._poll.stop()

    async def pace(self, account: Account) -> None:
        """Tell the account's policy how far its money goes. Raises StoreUnavailableError."""
        if time.monotonic() < account.share_until:
            return
        now = time.time()
        left = account.budget - await self._spent(account, now)
        account.policy.share = account.demand.affordable(
            left, account.start(now), account.end(now), now
        )
        account.share_until = time.monotonic() + SHARE_S

    async def hold_answer(self, account: Account, exchange: str, expected: int) -> bool:
        """Set aside what the teacher's answer may cost; False if that is more than is left."""
        hold = await self._hold(account, expected)
        if hold is not None:
            self._answers[exchange] = hold
        return hold is not None

    async def hold_audit(self, account: Account, exchange: str, expected: int) -> bool:
        """As `hold_answer`, for an audit."""
        hold = await self._hold(account, expected)
        if hold is not None:
            self._audits[exchange] = hold
        return hold is not None

    async def spend(self, exchange: Exchange) -> None:
        """Count what an answer has cost, instead of what was held for it."""
        if self._accounts:
            hold = self._answers.pop(exchange.id, None)
            await self._settle(hold, exchange.task, exchange.key, exchange.created, exchange.cost)

    async def spend_audit(self, turn: Turn, cost: int) -> None:
        """Count what an audit has cost, instead of what was held for it."""
        await self._spend_beside(turn, cost, self._audits.pop(turn.arrival.id, None))

    async def spend_tryout(self, turn: Turn, cost: int) -> None:
        """Count what a tryout has cost, for which nothing is held."""
        await self._spend_beside(turn, cost, None)

    async def give_back_answer(self, turn: Turn) -> None:
        """Hold nothing any more for an answer that is settled, or that there will not be."""
        await self._give_back(self._answers.pop(turn.arrival.id, None))

    async def give_back_audit(self, turn: Turn) -> None:
        """As `give_back_answer`, for an audit."""
        await self._give_back(self._audits.pop(turn.arrival.id, None))

    async def _spend_beside(self, turn: Turn, cost: int, hold: _Hold | None) -> None:
        arrival = turn.arrival
        await self._settle(hold, turn.task, arrival.key_id, arrival.created, cost)

    async def _give_back(self, hold: _Hold | None) -> None:
        if hold is None:
            return
        account, amount = hold.account, hold.amount
        try:
            await self._counters.take_back(account, amount, hold.period, hold.counted_in)
        except Exception:
            _log.exception("what a budget holds could not be given back")

    async def _settle(
        self, hold: _Hold | None, task: str, key: str | None, created: float, cost: int
    ) -> None:
        if hold is not None and cost and hold.expected:
            dearer = min(cost / hold.expected, MOST_DEARER)
            hold.account.dearer = max(hold.account.dearer, dearer)
        # What is spent goes first: at no time is less counted than is spent or held.
        for payer in {Payer(), Payer(task), Payer(None, key)}:
            account = self._accounts.get(payer)
            if account is not None:
                await self._count(account, cost, account.start(created))
        await self._give_back(hold)

    async def _hold(self, account: Account, expected: int) -> _Hold | None:
        now = time.time()
        # First of all: a period that nobody has settled counts nothing.
        await self._spent(account, now)
        amount = math.ceil(expected * account.dearer)
        period = account.start(now)
        hold = _Hold(account, expected, amount, period, await self._count(account, amount, period))
        fits = False
        try:
            # Counted first, then looked at: others count at the same time.
            fits = await self._spent(account, now) <= account.budget
        finally:
            if not fits:
                await self._give_back(hold)
        return hold if fits else None

    async def _count(self, account: Account, amount: int, period: int) -> Sum:
        """Count an amount; in which sum it is, if in any."""
        try:
            return await self._counters.spend(account, 0, amount, period, time.time())
        except Exception:
            _log.exception("a budget could not be counted")
            return ""

    async def _spent(self, account: Account, now: float) -> int:
        """Picodollars that are spent or held. Raises StoreUnavailableError."""
        period = account.start(now)
        standing = await self._settling.standing(
            account, period, now, lambda: self._stored(account, period)
        )
        if standing.spent is None:
            raise StoreUnavailableError("What has been spent cannot be read.")
        return standing.spent

    async def _stored(self, account: Account, period: int) -> int:
        try:
            return await asyncio.to_thread(spending.spent, self._engine, account.payer, period)
        except SQLAlchemyError as error:
            _log.error("what has been spent cannot be read: %s", error)
            raise StoreUnavailableError("What has been spent cannot be read.") from error

    async def _keep_looking(self) -> None:
        with contextlib.suppress(SQLAlchemyError):
            await self._look()
        await keep_fresh(self._look, POLL_S, "what is asked for")

    async def _look(self) -> None:
        """Take over what the store says was asked for."""
        for account in self._accounts.values():
            now = time.time()
            # A slot that is not over may have grown, and a clock that was ahead been set back.
            known = min(account.seen_until, now)
            since = max(known, now - HISTORY_S) // SLOT_S * SLOT_S
            slots = await asyncio.to_thread(
                spending.demand, self._engine, account.payer, since, SLOT_S
            )
            for slot, amount in slots.items():
                account.demand.set(slot, amount)
            account.seen_until = now - SLOT_S
