"""Group commit: many coroutines, one thread, one transaction for all that is waiting.

A record that has been handed over is committed within milliseconds; whoever must not go on before
that awaits it. While one transaction is being committed the next batch gathers, so throughput grows
with load and no write blocks the event loop.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from telemetry.exchange import Exchange
from telemetry.store import Audit, Store

MOST_WAITING = 20_000
"""Records that may wait while the database is slow: beyond it new ones fail."""


class BacklogError(Exception):
    """Too many records wait for the database."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A record, and the future of those who wait for it."""

    record: Exchange | Audit
    done: asyncio.Future[None]


class Writer:
    """Writes to ``store`` from one thread of its own, for the tasks of one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._executor = ThreadPoolExecutor(1, "exchange-writer")
        self._waiting: list[_Item] = []
        self._work: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Commit what is waiting, then stop."""
        if self._work is not None:
            await self._work
        self._executor.shutdown()

    def write(self, record: Exchange | Audit) -> asyncio.Future[None]:
        """Hand ``record`` over. The future is done once it is committed, after those before it.

        It has BacklogError or what the database raised as its exception if that cannot be.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= MOST_WAITING:
            done.set_exception(BacklogError(f"{MOST_WAITING} records wait for the database."))
            return done
        self._waiting.append(_Item(record, done))
        if self._work is None:
            self._work = asyncio.create_task(self._commit_all())
        return done

    async def _commit_all(self) -> None:
        # From its first step on, which comes when the event loop has been through all that was
        # ready with the first record: they share its transaction.
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure = await self._commit(batch)
            for item in batch:
                if item.done.cancelled():
                    continue
                if failure is None:
                    item.done.set_result(None)
                else:
                    item.done.set_exception(failure)
        self._work = None

    async def _commit(self, batch: list[_Item]) -> Exception | None:
        exchanges = [item.record for item in batch if isinstance(item.record, Exchange)]
        audits = [item.record for item in batch if isinstance(item.record, Audit)]
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._executor, self._store.write, exchanges, audits)
        except Exception as error:
            return error
        return None
