"""The exact interval of a share (Clopper and Pearson, *The Use of Confidence or Fiducial Limits
Illustrated in the Case of the Binomial*, Biometrika 26, 1934)."""

from __future__ import annotations

from scipy.special import betaincinv


def clopper_pearson(rate: float, trials: float, delta: float) -> tuple[float, float]:
    """Where a share lies with confidence ``1 - delta``, of which a ``rate`` was seen in so many
    independent trials. Where these have weights they are an effective number, which need not be
    whole.

    >>> tuple(round(end, 4) for end in clopper_pearson(0.9, 10, 0.05))
    (0.555, 0.9975)
    """
    hits, misses = rate * trials, (1 - rate) * trials
    low = float(betaincinv(hits, misses + 1, delta / 2)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, misses, 1 - delta / 2)) if misses > 0 else 1.0
    return min(low, rate), max(high, rate)
