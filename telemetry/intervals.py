"""How far a share that was counted in a sample may be from the true one."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

LEVEL = 0.95
"""Confidence of the intervals that are shown."""

_Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The two-sided score interval of a share of which ``hits`` in ``trials`` were seen, by Wilson
    (1927), at confidence ``LEVEL``. Without any trial nothing is known: (0, 1).

    >>> tuple(round(end, 4) for end in wilson(95, 100))
    (0.8882, 0.9785)
    """
    if not trials:
        return 0.0, 1.0
    share, squared = hits / trials, _Z**2 / trials
    middle = (share + squared / 2) / (1 + squared)
    spread = _Z * sqrt(share * (1 - share) / trials + squared / (4 * trials)) / (1 + squared)
    low = 0.0 if hits == 0 else middle - spread
    high = 1.0 if hits == trials else middle + spread
    return low, high
