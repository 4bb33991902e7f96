"""Counters in a file that the processes of one machine map into memory.

One slot of 1 KiB for each key or budget, of unsigned 64-bit words; a lock around each call. It
takes some microseconds and never waits for a disk. The file outlives the processes, so a restart or
a kill forgets nothing of the last minute; a process killed within a call leaves at most that call
undone.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

from router.keys.counters import SPAN_S, Counted, Standing, Sum, Window, within
from telemetry.mapped import lengthen

_WORD = 8
_SLOT = 128
"""Words of a slot, and of the header, whose first word is the number of slots in use."""
_GROWTH = 64
"""Slots that are added to the file at a time."""

# The layout of a slot: another one needs another file name. Each ring has a word for each second.
_ID, _LATEST, _PERIOD, _SPENT = range(4)
_REQUESTS = 4
_TOKENS = _REQUESTS + SPAN_S
_END = _TOKENS + SPAN_S
_SUM = _END
"""The number of the sum of what is spent."""


class _Lock:
    """Held for microseconds, and given back by the system if its holder is killed."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_exception: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)


class FileCounters:
    """Counters in a file in ``folder``, which is made if it is not there."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "limits.1", os.O_RDWR | os.O_CREAT, 0o600)
        self._slots: dict[str, int] = {}
        self._settled: dict[str, int] = {}
        self._map: mmap.mmap | None = None
        self._words = memoryview(b"").cast("Q")
        self._lock = _Lock(self._file)
        with self._lock:
            if os.fstat(self._file).st_size == 0:
                self._grow()
            self._remap()

    async def admit(self, counted: Counted, period: int, now: float) -> Standing:
        second = int(now)
        with self._lock:
            at = self._slot(counted)
            second = self._slide(at, second)
            words = self._words
            requests = self._window(at + _REQUESTS, second)
            tokens = self._window(at + _TOKENS, second)
            known = words[at + _PERIOD] == period and self._settled.get(counted.id) == period
            spent = words[at + _SPENT] if known else None
            admitted = within(counted, requests, tokens, spent)
            if admitted:
                words[at + _REQUESTS + second % SPAN_S] += 1
                requests = Window(requests.total + 1, requests.oldest or second, second)
        return Standing(admitted, requests, tokens, spent)

    async def spend(self, counted: Counted, tokens: int, cost: int, period: int, now: float) -> Sum:
        with self._lock:
            at = self._slot(counted)
            second = self._slide(at, int(now))
            self._words[at + _TOKENS + second % SPAN_S] += tokens
            if self._words[at + _PERIOD] == period:
                self._words[at + _SPENT] += cost
                return str(self._words[at + _SUM])
        return ""

    async def take_back(self, counted: Counted, cost: int, period: int, from_: Sum) -> None:
        with self._lock:
            at = self._slot(counted)
            words = self._words
            if words[at + _PERIOD] == period and str(words[at + _SUM]) == from_:
                words[at + _SPENT] -= cost

    async def settle(self, counted: Counted, period: int, spent: int) -> None:
        with self._lock:
            at = self._slot(counted)
            words = self._words
            if words[at + _PERIOD] != period:
                # Nobody may read the new period beside the old sum, even after a kill.
                words[at + _PERIOD] = 0
                words[at + _SUM] += 1
                words[at + _SPENT] = spent
                words[at + _PERIOD] = period
            # What others have counted may not be in the store yet.
            elif words[at + _SPENT] < spent:
                words[at + _SUM] += 1
                words[at + _SPENT] = spent
        self._settled[counted.id] = period

    def doubt(self) -> None:
        self._settled.clear()

    async def close(self) -> None:
        self._words.release()
        if self._map is not None:
            self._map.close()
        os.close(self._file)

    def _slot(self, counted: Counted) -> int:
        """The first word of its slot. The lock is held."""
        at = self._slots.get(counted.id)
        if at is None:
            self._learn_slots()
            at = self._slots.get(counted.id)
        return self._new_slot(counted) if at is None else at

    def _learn_slots(self) -> None:
        used = self._words[0]
        if (used + 1) * _SLOT > len(self._words):
            self._remap()
        for slot in range(len(self._slots) + 1, used + 1):
            at = slot * _SLOT
            self._slots[f"key_{self._words[at + _ID]:016x}"] = at

    def _new_slot(self, counted: Counted) -> int:
        slot = self._words[0] + 1
        at = slot * _SLOT
        if at + _SLOT > len(self._words):
            self._grow()
            self._remap()
        self._words[at + _ID] = int(counted.id.removeprefix("key_"), 16)
        self._words[0] = slot
        self._slots[counted.id] = at
        return at

    def _grow(self) -> None:
        end = os.fstat(self._file).st_size
        lengthen(self._file, end + _GROWTH * _SLOT * _WORD)

    def _remap(self) -> None:
        self._words.release()
        if self._map is not None:
            self._map.close()
        self._map = mmap.mmap(self._file, 0)
        self._words = memoryview(self._map).cast("Q")

    def _slide(self, at: int, second: int) -> int:
        """Clear what is over by ``second``; the second to count in. The lock is held."""
        words = self._words
        latest = words[at + _LATEST]
        if second == latest:
            return second
        if latest - SPAN_S < second < latest:
            # Another process's clock is a little ahead.
            return latest
        gone = second - latest
        if 0 < gone < SPAN_S:
            for passed in range(latest + 1, second + 1):
                words[at + _REQUESTS + passed % SPAN_S] = 0
                words[at + _TOKENS + passed % SPAN_S] = 0
        else:
            words[at + _REQUESTS : at + _END] = _EMPTY
        words[at + _LATEST] = second
        return second

    def _window(self, ring: int, second: int) -> Window:
        counts = self._words[ring : ring + SPAN_S]
        total = sum(counts)
        if total == 0:
            return _NOTHING
        # Under load both are found at once.
        oldest, newest = second - SPAN_S + 1, second
        while not counts[oldest % SPAN_S]:
            oldest += 1
        while not counts[newest % SPAN_S]:
            newest -= 1
        return Window(total, oldest, newest)


_NOTHING = Window(0, 0, 0)
_EMPTY = memoryview(bytes((_END - _REQUESTS) * _WORD)).cast("Q")
