"""What keys and budgets have used up, counted across processes.

Requests and tokens are counted by the second over the last minute. A second counts until the
minute after it is over, so no span of 60 s ever holds more requests than the limit. Money is
counted by the period of the budget; its durable truth is the store, and the counters are told
of it (`settle`) before they let the first request of a period pass.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

SPAN_S = 61
"""Seconds that are counted: the one under way and the 60 before it."""


class Counted(Protocol):
    """A key, or a budget that is no key's; None means without a limit."""

    @property
    def id(self) -> str:
        """``key_`` and 16 hexadecimal digits, for which the counters have a place."""
        ...

    @property
    def budget(self) -> int | None:
        """Picodollars of a period."""
        ...

    @property
    def requests_per_minute(self) -> int | None: ...

    @property
    def tokens_per_minute(self) -> int | None: ...


class Window(NamedTuple):
    """A sum over the last minute. Without any, ``oldest`` and ``newest`` are 0."""

    total: int
    oldest: int
    """Unix time of the oldest second that anything was counted in."""
    newest: int


Sum = str
"""Names the sum that a cost was added to: whatever forgets what was counted begins another."""


class Standing(NamedTuple):
    """What has been used up, the request at hand included if that was let in."""

    admitted: bool
    requests: Window
    tokens: Window
    spent: int | None
    """Picodollars of the budget's period; None where the store has to be asked first."""


class CountersLostError(Exception):
    """The counters cannot be reached."""


class Counters(Protocol):
    """Counts for all processes that share them. Each call is atomic.

    ``now`` is Unix time; ``period`` is the Unix time at which a budget's period began.
    All raise CountersLostError.
    """

    async def admit(self, counted: Counted, period: int, now: float) -> Standing:
        """Count a request if it is within the limits.

        It is let in while what has been used up is less than each limit. With a budget none is let
        in, and ``spent`` is None, until this process has settled that period.
        """
        ...

    async def spend(self, counted: Counted, tokens: int, cost: int, period: int, now: float) -> Sum:
        """Count what an answer took; where its cost is counted. ``period`` is that of the request;
        the cost of a period that is not the one being counted is left to the store."""
        ...

    async def take_back(self, counted: Counted, cost: int, period: int, from_: Sum) -> None:
        """Count a cost no more, where the sum that it was counted in still is the one that is
        counted in: one that was begun anew, from what the store says, has never had it."""
        ...

    async def settle(self, counted: Counted, period: int, spent: int) -> None:
        """The store says that at least so many picodollars were spent in the period."""
        ...

    def doubt(self) -> None:
        """Have every period settled again: others may have counted elsewhere."""
        ...

    async def close(self) -> None: ...


def within(counted: Counted, requests: Window, tokens: Window, spent: int | None) -> bool:
    """Whether there may be another request where so much has been used up."""
    return (
        _below(spent, counted.budget)
        and _below(requests.total, counted.requests_per_minute)
        and _below(tokens.total, counted.tokens_per_minute)
    )


def _below(used: int | None, limit: int | None) -> bool:
    return limit is None or (used is not None and used < limit)
