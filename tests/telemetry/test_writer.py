"""Group commit: durable when awaited, and nobody waits for somebody else's mistake for ever."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy.exc import DataError, OperationalError

from telemetry import postgres
from telemetry import writer as writing
from telemetry.exchange import Exchange
from telemetry.store import Audit, Store
from telemetry.writer import BacklogError, Writer
from tests.postgres import Cluster
from tests.telemetry.test_store import exchange


async def test_what_is_awaited_is_stored(
    store: Store, tmp_path: Path, database: SecretStr | None
) -> None:
    reader = Store(tmp_path, database)
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
    reader.close()


async def test_what_comes_at_once_shares_a_transaction(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = store.write
    sizes: list[int] = []

    def counted(new: Sequence[Exchange], *others: Any) -> None:
        sizes.append(len(new))
        write(new, *others)

    monkeypatch.setattr(store, "write", counted)
    writer = Writer(store)
    await asyncio.gather(*(writer.write(exchange(f"e{number}")) for number in range(50)))
    assert sizes == [50]
    await writer.close()


async def test_who_is_alone_has_it_stored_at_once(
    store: Store, tmp_path: Path, database: SecretStr | None
) -> None:
    reader = Store(tmp_path, database)
    writer = Writer(store)
    done = writer.write(exchange("e1"), alone=True)
    # A database over the network is not waited for here.
    assert done.done() is (database is None)
    await done
    assert reader.exchange("e1") is not None
    # Nothing overtakes what is waiting.
    first = writer.write(exchange("e2"))
    assert not writer.write(exchange("e3"), alone=True).done()
    await first
    await writer.write(Audit("e1", "no", False, 1), alone=True)
    audited = reader.exchange("e1")
    assert audited is not None
    assert audited.agreed is False
    await writer.close()
    reader.close()


async def test_who_is_alone_waits_for_no_other_writer(tmp_path: Path) -> None:
    store, writer = Store(tmp_path), Writer(Store(tmp_path))
    with store.engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        done = writer.write(exchange("e1"), alone=True)
        assert not done.done()
        other.exec_driver_sql("ROLLBACK")
    await done
    assert store.exchange("e1") is not None
    await writer.close()


async def test_the_log_before_the_database_does_not_grow_without_end(tmp_path: Path) -> None:
    writer = Writer(Store(tmp_path))
    for number in range(1200):
        await writer.write(exchange(f"e{number}", request="x" * 4000), alone=True)
    # 1,000 pages, and what a hundred records may add to them.
    assert (tmp_path / "protege.db-wal").stat().st_size < 10e6
    assert (tmp_path / "protege.db").stat().st_size > 3e6
    await writer.close()


async def test_records_gather_longer_where_processes_share_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "GATHER_S", 0.03)
    writer = Writer(store, processes=2)
    first = [writer.write(exchange(f"e{number}")) for number in range(2)]
    await asyncio.sleep(0)
    started = time.monotonic()
    later = writer.write(exchange("later"))
    await asyncio.gather(*first, later)
    assert time.monotonic() - started >= 0.06
    await writer.close()


async def test_an_audit_follows_its_exchange_unawaited(store: Store) -> None:
    writer = Writer(store)
    writer.write(exchange("e"))
    await writer.write(Audit("e", "no", False, 1))
    audited = store.exchange("e")
    assert audited is not None
    assert audited.agreed is False
    await writer.close()


async def test_what_cannot_be_stored_is_nobody_elses_loss(store: Store) -> None:
    writer = Writer(store)
    writes = [writer.write(exchange(f"e{number}")) for number in range(7)]
    # More tokens than an integer of the database holds.
    bad = writer.write(exchange("bad", prompt_tokens=2**70))
    writes += [writer.write(exchange("after")), writer.write(Audit("e3", "no", False, 1))]
    with pytest.raises((DataError, OverflowError)):
        await bad
    await asyncio.gather(*writes)
    assert len(store.teacher_answers("t")) == 8
    audited = store.exchange("e3")
    assert audited is not None
    assert audited.agreed is False
    await writer.close()


async def test_a_name_too_long_for_the_database_is_nobody_elses_loss(store: Store) -> None:
    """PostgreSQL's indexes take so much of a row; SQLite's take all."""
    writer = Writer(store)
    name = secrets.token_urlsafe(10_000)
    writes = [writer.write(exchange(f"e{number}")) for number in range(3)]
    long = writer.write(exchange("long", task=name))
    await asyncio.gather(*writes)
    await asyncio.wait([long])
    assert len(store.teacher_answers("t")) == 3
    await writer.close()


async def test_what_waits_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MOST_WAITING", 2)
    writer = Writer(store)
    first, second = writer.write(exchange("1")), writer.write(exchange("2"))
    with pytest.raises(BacklogError, match="2 records"):
        await writer.write(exchange("3"))
    await asyncio.gather(first, second)
    await writer.write(exchange("4"))
    assert store.exchange("4") is not None
    await writer.close()


async def test_closing_commits_what_waits(store: Store) -> None:
    writer = Writer(store)
    writes = [writer.write(exchange(f"e{number}")) for number in range(50)]
    await writer.close()
    assert len(store.teacher_answers("t")) == 50
    await asyncio.gather(*writes)


async def test_one_that_stops_waiting_takes_nobody_along(store: Store) -> None:
    writer = Writer(store)
    gone, stays = writer.write(exchange("gone")), writer.write(exchange("stays"))
    gone.cancel()
    await stays
    assert store.exchange("gone") is not None
    await writer.close()


async def test_a_restart_of_the_database_loses_nothing(
    postgres_cluster: Cluster, tmp_path: Path
) -> None:
    store = Store(tmp_path, postgres_cluster.empty())
    writer = Writer(store)
    writes: list[asyncio.Future[None]] = []

    async def load(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            writes.append(writer.write(exchange(f"e{len(writes)}")))
            await asyncio.sleep(0.001)

    restarted = asyncio.create_task(load(2.0))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(postgres_cluster.stop)
    await asyncio.sleep(0.5)
    assert not writes[-1].done()
    await asyncio.to_thread(postgres_cluster.start)
    await restarted
    await asyncio.gather(*writes)
    assert len(store.teacher_answers("t")) == len(writes)
    await writer.close()
    store.close()


async def test_a_table_that_somebody_has_locked(
    postgres_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = postgres_cluster.empty()
    others = Store(tmp_path, database)
    monkeypatch.setattr(postgres, "LOCK_WAIT_S", 0.2)
    store = Store(tmp_path, database)
    writer = Writer(store)
    with others.engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE exchanges")
        writes = [writer.write(exchange(f"e{number}")) for number in range(3)]
        await asyncio.sleep(0.7)
        assert not any(write.done() for write in writes)
    await asyncio.gather(*writes)
    assert len(store.teacher_answers("t")) == 3
    monkeypatch.setattr(writing, "PATIENCE_S", 0.3)
    with others.engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE exchanges")
        async with asyncio.timeout(5):
            with pytest.raises(OperationalError, match="lock timeout"):
                await writer.write(exchange("given up"))
    await writer.close()
    store.close()
    others.close()


async def test_a_database_that_stays_away(
    postgres_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PATIENCE_S", 0.5)
    store = Store(tmp_path, postgres_cluster.empty())
    writer = Writer(store)
    await writer.write(exchange("before"))
    postgres_cluster.stop()
    try:
        began = time.monotonic()
        with pytest.raises(OperationalError):
            await writer.write(exchange("waited for"))
        assert time.monotonic() - began >= 0.5
        monkeypatch.setattr(writing, "RETRY_S", 1e9)
        with pytest.raises(OperationalError):
            await writer.write(exchange("not waited for"))
    finally:
        postgres_cluster.start()
    # It is waited for again once it has been back.
    await writer.write(exchange("after"))
    monkeypatch.setattr(writing, "PATIENCE_S", 60)
    monkeypatch.setattr(writing, "RETRY_S", 0.1)
    await asyncio.to_thread(postgres_cluster.stop)
    later = writer.write(exchange("later"))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(postgres_cluster.start)
    await later
    assert {row.id for row in store.teacher_answers("t")} == {"before", "after", "later"}
    await writer.close()
    store.close()
