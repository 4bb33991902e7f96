"""A circuit breaker: an upstream that keeps failing is left alone for a while.

Nygard, "Release It!" (2007), chapter 5.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Breaker:
    """Opens after ``most`` failures in a row, for ``pause_s`` seconds. ``clock`` gives seconds."""

    def __init__(
        self, most: int, pause_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._pause_s = pause_s
        self._clock = clock
        self._failures = 0
        self._closed_from = 0.0

    def allows(self) -> bool:
        """Whether a call may be made. With an open circuit one may, every ``pause_s``."""
        if self._failures < self._most:
            return True
        if self.wait_s() > 0:
            return False
        # Whatever becomes of this call, even if its caller hangs up, the next one waits its turn.
        self._closed_from = self._clock() + self._pause_s
        return True

    def wait_s(self) -> float:
        """Seconds until an open circuit lets a call through; 0 where one may be made now."""
        return max(0.0, self._closed_from - self._clock()) if self._failures >= self._most else 0.0

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= self._most:
            self._closed_from = self._clock() + self._pause_s
