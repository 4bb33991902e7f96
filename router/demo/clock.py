"""How long the phases of a run take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds by phase; phases come one after another."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """The block is the phase ``name``."""
        start = time.monotonic()
        yield
        self._seconds[name] = time.monotonic() - start

    def in_words(self) -> str:
        phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self._seconds.items())
        return f"Took {sum(self._seconds.values()):.0f} s: {phases}"
