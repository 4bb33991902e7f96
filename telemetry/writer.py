"""Group commit: many coroutines, one thread, one transaction for all that is waiting.

A coroutine awaits ``write`` and goes on once its record is durable. While one transaction is being
committed the next batch gathers, so throughput grows with load and no write blocks the event loop.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future

from telemetry.exchange import Exchange
from telemetry.store import Audit, Store

_Item = tuple[Exchange | Audit, "Future[None]"]


class Writer:
    """Writes to ``store`` from one thread of its own, from ``start`` to ``close``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="exchange-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Commit what is waiting, then stop."""
        self._queue.put(None)
        self._thread.join()

    async def write(self, record: Exchange | Audit) -> None:
        """Return once ``record`` is committed; raise what the database raised if it cannot be."""
        done: Future[None] = Future()
        self._queue.put((record, done))
        await asyncio.wrap_future(done)

    def _run(self) -> None:
        open_ = True
        while open_:
            batch: list[_Item] = []
            item = self._queue.get()
            while True:
                if item is None:
                    open_ = False
                    break
                batch.append(item)
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Item]) -> None:
        try:
            self._store.write(
                [record for record, _ in batch if isinstance(record, Exchange)],
                [record for record, _ in batch if isinstance(record, Audit)],
            )
        except Exception as error:
            for _, done in batch:
                done.set_exception(error)
        else:
            for _, done in batch:
                done.set_result(None)
