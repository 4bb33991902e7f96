"""How much is under way: past the limit new requests are turned away, not queued."""

from __future__ import annotations

from prometheus_client import Gauge

from router.errors import OverloadedError

RETRY_AFTER_S = 1.0


class Load:
    """Entered by every request of one server process; ``gauge`` shows how many are inside."""

    def __init__(self, limit: int, gauge: Gauge) -> None:
        self._limit = limit
        self._gauge = gauge
        self._inside = 0

    def __enter__(self) -> None:
        """Raises OverloadedError."""
        if self._inside >= self._limit:
            raise OverloadedError(
                f"The server is busy with {self._limit} requests.", retry_after_s=RETRY_AFTER_S
            )
        self._inside += 1
        self._gauge.inc()

    def __exit__(self, *_exception: object) -> None:
        self._inside -= 1
        self._gauge.dec()
