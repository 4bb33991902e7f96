"""Group commit: many coroutines, one thread, one transaction for all that is waiting.

A coroutine awaits ``write`` and goes on once its record is durable. While one transaction is being
committed the next batch gathers, so throughput grows with load and no write blocks the event loop.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from telemetry.exchange import Exchange
from telemetry.store import Audit, Store


@dataclass(frozen=True, slots=True)
class _Item:
    """A record, and who waits for it on which event loop."""

    record: Exchange | Audit
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


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
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._queue.put(_Item(record, loop, done))
        await done

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
        failure: Exception | None = None
        try:
            self._store.write(
                [item.record for item in batch if isinstance(item.record, Exchange)],
                [item.record for item in batch if isinstance(item.record, Audit)],
            )
        except Exception as error:
            failure = error
        # One call a batch: waking the loop costs more than all that it then does.
        for loop in {item.loop for item in batch}:
            waiting = [item.done for item in batch if item.loop is loop]
            loop.call_soon_threadsafe(_release, waiting, failure)


def _release(waiting: Iterable[asyncio.Future[None]], failure: Exception | None) -> None:
    for done in waiting:
        if done.cancelled():
            continue
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)
