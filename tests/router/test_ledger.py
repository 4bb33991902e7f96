"""The ledger: what is counted is stored, and what is lost is counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from policies.scores import Scores
from router.errors import StoreUnavailableError
from router.ledger import Ledger
from router.models import FREE, Model
from router.upstreams.http import HttpUpstream
from telemetry.metrics import Metrics
from telemetry.store import Store
from telemetry.writer import Writer
from tests.telemetry.test_metrics import total
from tests.telemetry.test_store import exchange


async def test_what_is_lost_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    teacher = Model(HttpUpstream("m", "http://127.0.0.1:9/v1", None, 1.0), FREE)
    ledger = Ledger(Writer(store), Metrics(), Scores(), teacher)
    first = exchange("twice", route="student", reason="student_confident")
    await ledger.record_soon(first)
    again = ledger.record_soon(first)
    await asyncio.wait([again])
    assert again.exception() is not None
    assert "exchange twice could not be stored" in caplog.text
    assert total(ledger.metrics, "protege_lost_exchanges_total", route="student") == 1
    with pytest.raises(StoreUnavailableError):
        await ledger.record(first)
    assert total(ledger.metrics, "protege_requests_total") == 1
    await ledger.writer.close()
    store.close()
