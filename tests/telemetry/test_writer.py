"""Group commit: durable when awaited, and nobody waits for somebody else's mistake for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from telemetry import writer as writing
from telemetry.exchange import Exchange
from telemetry.store import Audit, Store
from telemetry.writer import BacklogError, Writer
from tests.telemetry.test_store import exchange


async def test_what_is_awaited_is_stored(tmp_path: Path) -> None:
    store, reader = Store(tmp_path), Store(tmp_path)
    writer = Writer(store)

    async def write(number: int) -> None:
        await writer.write(exchange(f"e{number}"))
        assert reader.exchange(f"e{number}") is not None

    await asyncio.gather(*(write(number) for number in range(200)))
    await writer.write(Audit("e7", "no", False, 1))
    audited = reader.exchange("e7")
    assert audited is not None
    assert audited.agreed is False
    await writer.close()
    store.close()
    reader.close()


async def test_what_comes_at_once_shares_a_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    write = store.write
    sizes: list[int] = []

    def counted(new: Sequence[Exchange], audits: Sequence[Audit]) -> None:
        sizes.append(len(new))
        write(new, audits)

    monkeypatch.setattr(store, "write", counted)
    writer = Writer(store)
    await asyncio.gather(*(writer.write(exchange(f"e{number}")) for number in range(50)))
    assert sizes == [50]
    await writer.close()
    store.close()


async def test_an_audit_follows_its_exchange_unawaited(tmp_path: Path) -> None:
    store = Store(tmp_path)
    writer = Writer(store)
    writer.write(exchange("e"))
    await writer.write(Audit("e", "no", False, 1))
    audited = store.exchange("e")
    assert audited is not None
    assert audited.agreed is False
    await writer.close()
    store.close()


async def test_what_cannot_be_stored_is_an_error(tmp_path: Path) -> None:
    store = Store(tmp_path)
    writer = Writer(store)
    await writer.write(exchange("twice"))
    with pytest.raises(SQLAlchemyError):
        await writer.write(exchange("twice"))
    await writer.write(exchange("once"))
    assert store.exchange("once") is not None
    await writer.close()
    store.close()


async def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MOST_WAITING", 2)
    store = Store(tmp_path)
    writer = Writer(store)
    first, second = writer.write(exchange("1")), writer.write(exchange("2"))
    with pytest.raises(BacklogError, match="2 records"):
        await writer.write(exchange("3"))
    await asyncio.gather(first, second)
    await writer.write(exchange("4"))
    assert store.exchange("4") is not None
    await writer.close()
    store.close()


async def test_closing_commits_what_waits(tmp_path: Path) -> None:
    store = Store(tmp_path)
    writer = Writer(store)
    writes = [writer.write(exchange(f"e{number}")) for number in range(50)]
    await writer.close()
    assert len(store.teacher_answers("t")) == 50
    await asyncio.gather(*writes)
    store.close()


async def test_one_that_stops_waiting_takes_nobody_along(tmp_path: Path) -> None:
    store = Store(tmp_path)
    writer = Writer(store)
    gone, stays = writer.write(exchange("gone")), writer.write(exchange("stays"))
    gone.cancel()
    await stays
    assert store.exchange("gone") is not None
    await writer.close()
    store.close()
