"""Files of values that the worker processes of one server share, on a disk that may be full.

prometheus_client maps them into memory and makes them longer without writing them: where the disk
has no room for what is counted there, the system ends the process (SIGBUS). Here they are written
before they are mapped.
"""

from __future__ import annotations

import os

import prometheus_client.values
from prometheus_client.mmap_dict import MmapedDict

from telemetry.mapped import lengthen

_FIRST = 1 << 16
"""Bytes of a new file, as prometheus_client has it."""
_BEGINNING = 8
_BESIDE = 32
"""Bytes that a value takes at most beside its key."""


class Allocated:
    """A file of values by their keys, in the place of ``MmapedDict``.

    A value that there is no room for is in no file, and shows once it changes while there is.
    """

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self._values: MmapedDict | None = None
        self._placed: set[str] = set()
        self._size = 0
        """Bytes that are written."""
        self._used = _BEGINNING
        """Bytes that are used at most."""

    def read_value(self, key: str) -> tuple[float, float]:
        values = self._with(key)
        return (0.0, 0.0) if values is None else values.read_value(key)  # type: ignore[no-untyped-call]

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        values = self._with(key)
        if values is not None:
            values.write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        if self._values is not None:
            self._values.close()  # type: ignore[no-untyped-call]

    def _with(self, key: str) -> MmapedDict | None:
        """The values, with a place for ``key``; None where there is no room for it."""
        if key not in self._placed:
            used = self._used + len(key.encode()) + _BESIDE
            try:
                self._hold(used)
            except OSError:
                return None
            self._used = used
            self._placed.add(key)
        return self._values

    def _hold(self, used: int) -> None:
        """Make room for so many bytes. Raises OSError."""
        size = self._size or _FIRST
        while size < used:
            size *= 2
        if self._values is None:
            # Whoever is scraped reads all files, and none may be empty.
            new = f"{self._filename}.new"
            _lengthen(new, size)
            os.replace(new, self._filename)
            self._values = MmapedDict(self._filename)  # type: ignore[no-untyped-call]
        elif size > self._size:
            _lengthen(self._filename, size)
        self._size = size


def allocate() -> None:
    """Have prometheus_client write its files before it maps them."""
    prometheus_client.values.MmapedDict = Allocated  # type: ignore[misc, assignment]


def _lengthen(filename: str, size: int) -> None:
    """Write the file up to so many bytes. Raises OSError."""
    file = os.open(filename, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        lengthen(file, size)
    finally:
        os.close(file)
