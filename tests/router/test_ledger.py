"""The ledger: what is counted is stored, and what is lost is counted."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from config.settings import BudgetSettings, Settings
from policies.scores import Scores
from router.errors import StoreUnavailableError
from router.keys.file import FileCounters
from router.keys.keyring import Keyring
from router.keys.limits import Limits
from router.ledger import Ledger
from router.load import Load
from router.models import Models
from router.spending.budgets import Budgets
from router.turn import Arrival
from telemetry.keys import Keys
from telemetry.metrics import Metrics
from telemetry.schema import exchanges
from telemetry.spending import Payer
from telemetry.store import Repeat, Store
from telemetry.tryouts import Tryout
from telemetry.writer import Writer
from tests.telemetry.test_metrics import total
from tests.telemetry.test_store import exchange


@dataclass
class Turn:
    arrival: Arrival
    upstream_s: float = 0.0


def opened(folder: Path) -> tuple[Store, Ledger]:
    store = Store(folder)
    keys = Keys(store)
    counters = FileCounters(folder)
    limits = Limits(keys, Keyring(keys, closed=False), counters)
    teacher = Models(Settings()).teacher
    budgets = Budgets(store, counters)
    writer = Writer(store)
    ledger = Ledger(writer, Metrics(), Scores(), teacher, limits, budgets, None, Load(10))
    return store, ledger


async def test_what_is_lost_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, ledger = opened(tmp_path)
    turn = Turn(Arrival(None))
    await (await ledger.record_soon(exchange("kept", route="student"), turn))
    exchanges.drop(store.engine)
    lost = exchange("lost", route="student")
    stored = await ledger.record_soon(lost, turn)
    await asyncio.wait([stored])
    assert stored.exception() is not None
    assert "exchange lost could not be stored" in caplog.text
    assert total(ledger.metrics, "protege_lost_exchanges_total", route="student") == 1
    with pytest.raises(StoreUnavailableError):
        await ledger.record(lost, turn)
    assert total(ledger.metrics, "protege_requests_total") == 1
    await ledger.writer.close()
    store.close()


async def test_a_tryout_leaves_what_is_held_for_a_repeat(tmp_path: Path) -> None:
    store, ledger = opened(tmp_path)
    account = ledger.budgets.open(BudgetSettings(usd=1), Payer())
    turn: Any = SimpleNamespace(arrival=Arrival(None), task="t")
    name = turn.arrival.id
    assert await ledger.budgets.hold_audit(account, name, 400)
    held = account.budget - await ledger.budgets.left(account, time.time())
    tryout = Tryout(name, "m", time.time(), "t", True, 1.0, cost=50, extra=True, latency_s=0.1)
    await ledger.record_tryout(turn, tryout)
    assert await ledger.budgets.left(account, time.time()) == account.budget - held - 50
    await ledger.record_repeat(turn, Repeat(name, None, 300))
    assert await ledger.budgets.left(account, time.time()) == account.budget - 300 - 50
    await ledger.writer.close()
    store.close()
