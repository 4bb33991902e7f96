"""Group commit: durable when awaited, and nobody waits for somebody else's mistake for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from telemetry.store import Audit, Store
from telemetry.writer import Writer
from tests.telemetry.test_store import exchange


async def test_what_is_awaited_is_stored(tmp_path: Path) -> None:
    store, reader = Store(tmp_path), Store(tmp_path)
    writer = Writer(store)
    writer.start()

    async def write(number: int) -> None:
        await writer.write(exchange(f"e{number}"))
        assert reader.exchange(f"e{number}") is not None

    await asyncio.gather(*(write(number) for number in range(200)))
    await writer.write(Audit("e7", "no", False, 1))
    audited = reader.exchange("e7")
    assert audited is not None
    assert audited.agreed is False
    writer.close()
    store.close()
    reader.close()


async def test_what_cannot_be_stored_is_an_error(tmp_path: Path) -> None:
    store = Store(tmp_path)
    writer = Writer(store)
    writer.start()
    await writer.write(exchange("twice"))
    with pytest.raises(SQLAlchemyError):
        await writer.write(exchange("twice"))
    await writer.write(exchange("once"))
    assert store.exchange("once") is not None
    writer.close()
    store.close()


async def test_closing_commits_what_waits(tmp_path: Path) -> None:
    store = Store(tmp_path)
    writer = Writer(store)
    writes = [asyncio.create_task(writer.write(exchange(f"e{number}"))) for number in range(50)]
    await asyncio.sleep(0)
    writer.start()
    await asyncio.to_thread(writer.close)
    assert len(store.teacher_answers("t")) == 50
    await asyncio.gather(*writes)
    store.close()


async def test_one_that_stops_waiting_takes_nobody_along(tmp_path: Path) -> None:
    store = Store(tmp_path)
    writer = Writer(store)
    gone = asyncio.create_task(writer.write(exchange("gone")))
    stays = asyncio.create_task(writer.write(exchange("stays")))
    await asyncio.sleep(0)
    gone.cancel()
    writer.start()
    await stays
    assert store.exchange("gone") is not None
    writer.close()
    store.close()
