"""The ledger: what is counted is stored, and what is lost is counted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.settings import Settings
from policies.scores import Scores
from router.budgets import Budgets
from router.errors import StoreUnavailableError
from router.keys.file import FileCounters
from router.keys.keyring import Keyring
from router.keys.limits import Limits
from router.ledger import Ledger
from router.load import Load
from router.models import Models
from router.turn import Arrival
from telemetry.keys import Keys
from telemetry.metrics import Metrics
from telemetry.schema import exchanges
from telemetry.store import Store
from telemetry.writer import Writer
from tests.telemetry.test_metrics import total
from tests.telemetry.test_store import exchange


@dataclass
class Turn:
    arrival: Arrival
    upstream_s: float = 0.0


async def test_what_is_lost_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    keys = Keys(store)
    counters = FileCounters(tmp_path)
    limits = Limits(keys, Keyring(keys, closed=False), counters)
    teacher = Models(Settings()).teacher
    budgets = Budgets(store, counters)
    ledger = Ledger(Writer(store), Metrics(), Scores(), teacher, limits, budgets, None, Load(10))
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
