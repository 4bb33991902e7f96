"""Group commit: many coroutines, one thread, one transaction for all that is waiting.

A record that has been handed over is committed within milliseconds; whoever must not go on before
that awaits it. While one transaction is being committed the next batch gathers, so throughput grows
with load and no write blocks the event loop.

A database that goes away for a moment is waited for. One record that cannot be stored is nobody
else's loss.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError, SQLAlchemyError

from telemetry.exchange import Exchange
from telemetry.store import Audit, Repeat, Store
from telemetry.tryouts import Tryout

MOST_WAITING = 20_000
"""Records that may wait while the database is slow: beyond it new ones fail."""

PATIENCE_S = 10.0
"""How long a database that cannot be reached is waited for: as long as a restart of it takes. From
then on, records fail at once until it is back."""
RETRY_S = 0.1

GATHER_S = 0.002
"""How long records gather for a transaction where the last one held several, for each process that
shares the database."""
MOST_GATHERING = 4
"""Processes beyond so many do not make it longer."""

_LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code where a lock was waited for as long as ``telemetry.postgres`` allows."""

CHECKPOINT = 100
"""One in so many records goes through the thread all the same, where SQLite makes its checkpoints:
they wait for the disk."""

Record = Exchange | Audit | Repeat | Tryout


class BacklogError(Exception):
    """Too many records wait for the database."""


UNSTORED = (SQLAlchemyError, BacklogError)
"""What is raised where the store cannot be written, or read."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A record, and the future of those who wait for it."""

    record: Record
    done: asyncio.Future[None]
    since: float
    """When it was handed over, on the monotonic clock."""


class Writer:
    """Writes to ``store`` from one thread of its own, for the tasks of one event loop.

    So many ``processes`` share the callers, and so the records: each gathers longer, or it would
    take more transactions, and with them processor time, for the same number of records.
    """

    def __init__(self, store: Store, processes: int = 1) -> None:
        self._store = store
        self._gather_s = GATHER_S * min(processes, MOST_GATHERING)
        self._executor = ThreadPoolExecutor(1, "exchange-writer")
        self._waiting: list[_Item] = []
        self._batch: list[_Item] = []
        self._work: asyncio.Task[None] | None = None
        self._away_since: float | None = None
        self._at_once = 0

    async def close(self) -> None:
        """Commit what is waiting, then stop."""
        if self._work is not None:
            await self._work
        self._executor.shutdown()

    @property
    def waiting(self) -> int:
        """Records that are not committed yet."""
        return len(self._batch) + len(self._waiting)

    def lag_s(self) -> float:
        """How many seconds the oldest of them has waited."""
        oldest = self._batch or self._waiting
        return time.monotonic() - oldest[0].since if oldest else 0.0

    def write(self, record: Record, *, alone: bool = False) -> asyncio.Future[None]:
        """Hand ``record`` over. The future is done once it is committed, after those before it.

        It has BacklogError or what the database raised as its exception if that cannot be. Where
        nobody else is being answered (``alone``) it is committed here and now, if it can be: to and
        from a thread takes longer than that.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if alone and self._work is None and self._write_at_once(record):
            done.set_result(None)
            return done
        if len(self._waiting) >= MOST_WAITING:
            done.set_exception(BacklogError(f"{MOST_WAITING} records wait for the database."))
            return done
        self._waiting.append(_Item(record, done, time.monotonic()))
        if self._work is None:
            self._work = asyncio.create_task(self._commit_all())
        return done

    def _write_at_once(self, record: Record) -> bool:
        self._at_once += 1
        if not isinstance(record, Exchange) or self._at_once % CHECKPOINT == 0:
            return False
        return self._store.write_at_once(record)

    async def _commit_all(self) -> None:
        # From its first step on, which comes when the event loop has been through all that was
        # ready with the first record: they share its transaction.
        several = False
        while self._waiting:
            if several:
                # Many callers at once: a transaction costs as much as several answers do.
                await asyncio.sleep(self._gather_s)
            batch, self._waiting = self._waiting, []
            self._batch = batch
            several = len(batch) > 1
            failures = await self._commit([item.record for item in batch])
            for item, failure in zip(batch, failures, strict=True):
                if item.done.cancelled():
                    continue
                if failure is None:
                    item.done.set_result(None)
                else:
                    item.done.set_exception(failure)
            self._batch = []
        self._work = None

    async def _commit(self, records: Sequence[Record]) -> Sequence[Exception | None]:
        """What is wrong with each of the records; None for those that are committed."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                failures = await loop.run_in_executor(self._executor, _write, self._store, records)
            except DBAPIError as error:
                if not self._waits():
                    return [error] * len(records)
            else:
                self._away_since = None
                return failures
            await asyncio.sleep(RETRY_S)

    def _waits(self) -> bool:
        """Whether a database that is away may be back soon."""
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        return now - self._away_since < PATIENCE_S


def _write(store: Store, records: Sequence[Record]) -> Sequence[Exception | None]:
    """What is wrong with each of the records; None for those that are committed.

    Raises DBAPIError where the database cannot be reached: what became of them is not known.
    """
    try:
        store.write(
            [record for record in records if isinstance(record, Exchange)],
            [record for record in records if isinstance(record, Audit | Repeat)],
            [record for record in records if isinstance(record, Tryout)],
        )
    except Exception as error:
        if _is_away(error):
            raise
        if len(records) == 1 or not _is_of_one(error):
            return [error] * len(records)
        middle = len(records) // 2
        return [*_write(store, records[:middle]), *_write(store, records[middle:])]
    return [None] * len(records)


def _is_of_one(error: Exception) -> bool:
    """Whether one of several records may be the reason."""
    if isinstance(error, ProgrammingError):
        return False
    # PostgreSQL's class of program limits: a value may be too long for an index.
    too_long = _sqlstate(error).startswith("54")
    return too_long or not isinstance(error, OperationalError)


def _is_away(error: Exception) -> bool:
    """Whether a connection broke, none could be made, or somebody else has locked a table."""
    return isinstance(error, DBAPIError) and (
        error.connection_invalidated
        or error.statement is None
        or _sqlstate(error) == _LOCK_NOT_AVAILABLE
    )


def _sqlstate(error: Exception) -> str:
    """PostgreSQL's code of what went wrong; empty where there is none."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""
