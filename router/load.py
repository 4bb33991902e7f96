"""How much is under way: past the limit new requests are turned away, not queued."""

from __future__ import annotations

from router.errors import OverloadedError

RETRY_AFTER_S = 1.0


class Load:
    """Entered by every request of one server process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.inside = 0
        """Requests that are being answered."""

    def __enter__(self) -> None:
        """Raises OverloadedError."""
        if self.inside >= self._limit:
            raise OverloadedError(
                f"The server is busy with {self._limit} requests.", retry_after_s=RETRY_AFTER_S
            )
        self.inside += 1

    def __exit__(self, *_exception: object) -> None:
        self.inside -= 1
