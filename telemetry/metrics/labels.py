"""Label values are bounded: whoever sends requests must not decide how many series there are.

The worker processes of one server give the same names a label, or a task's figures would be in two
places: what they have agreed on is in a file beside those of the values.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter as Tally
from pathlib import Path
from threading import Lock

OTHER = "other"


class Labels:
    """Gives the first ``most`` names a label value of their own; all others are ``other``.

    Processes with the same ``file`` share them.
    """

    def __init__(self, most: int, file: Path | None = None) -> None:
        self._most = most
        self._named: set[str] = set()
        self._shared = None if file is None else _Shared(file)
        self._changing = Lock()

    def __len__(self) -> int:
        return len(self._named)

    def __contains__(self, name: str) -> bool:
        """Whether ``name`` has a label of its own."""
        if name in self._named:
            return True
        if self._shared is not None and not self.full:
            self._named |= self._shared.news()
        return name in self._named

    def names(self) -> set[str]:
        """All that have a label of their own."""
        if self._shared is not None and not self.full:
            self._named |= self._shared.news()
        return set(self._named)

    @property
    def full(self) -> bool:
        return len(self._named) >= self._most

    def admit(self, name: str) -> str:
        """The label value of ``name``."""
        if name in self._named:
            return name
        if self.full:
            return OTHER
        with self._changing:
            return self._admit(name)

    def _admit(self, name: str) -> str:
        if self._shared is None:
            self._named.add(name)
            return name
        with self._shared:
            self._named |= self._shared.news()
            if name not in self._named and not self.full and self._shared.append(name):
                self._named.add(name)
        return name if name in self._named else OTHER


class _Shared:
    """A file of names, one a line, that is only ever added to. Entered by who adds to it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._read = 0
        """Bytes that are known."""

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_exception: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def news(self) -> set[str]:
        """The names that were added since the last look."""
        size = os.fstat(self._file).st_size
        if size == self._read:
            return set()
        # Whole lines: the last one may still be being written.
        lines = os.pread(self._file, size - self._read, self._read)
        end = lines.rfind(b"\n") + 1
        self._read += end
        return {json.loads(line) for line in lines[:end].splitlines()}

    def append(self, name: str) -> bool:
        """Add a name; False where the disk has no room for it."""
        line = json.dumps(name).encode() + b"\n"
        end = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) == len(line):
                return True
        except OSError:
            return False
        os.ftruncate(self._file, end)
        return False


class TaskLabels:
    """Gives a task a label value of its own once it is seen to matter.

    That is when a student takes it over, or after ``least`` requests; at once, while fewer than
    ``free`` tasks have one. At most ``most`` do, and all others are ``other``.
    """

    def __init__(
        self,
        least: int = 20,
        most: int = 200,
        free: int = 100,
        remembered: int = 10_000,
        file: Path | None = None,
    ) -> None:
        self._least = least
        self._free = free
        self._remembered = remembered
        self._seen: Tally[str] = Tally()
        self._labels = Labels(most, file)

    def label(self, task: str) -> str:
        """The label for one more request of ``task``."""
        if task in self._labels:
            return task
        if self._labels.full:
            return OTHER
        if len(self._seen) >= self._remembered:
            self._seen.clear()
        self._seen[task] += 1
        if self._seen[task] >= self._least or len(self._labels) < self._free:
            return self.admit(task)
        return OTHER

    def names(self) -> set[str]:
        """The tasks that have a label of their own."""
        return self._labels.names()

    def admit(self, task: str) -> str:
        """The label of a task that a student has or had."""
        self._seen.pop(task, None)
        return self._labels.admit(task)
