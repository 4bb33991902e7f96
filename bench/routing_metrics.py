"""How well a score routes between a weak and a strong model: RouteLLM's metrics.

Ong et al. 2024, "RouteLLM: Learning to Route LLMs with Preference Data", section 3.2. The prompts
with the highest scores go to the strong model. The *performance gap recovered* (PGR) at a share of
strong calls is the accuracy of the mixture, 0 where it is the weak model's and 1 where it is the
strong model's. As in the paper, it is taken at ten equal steps of the share, from none to all:

* APGR, the average, is the area under it by the trapezoid rule. Random routing has 0.5.
* CPT(x) is the least share of strong calls with a PGR of x, linear between the steps.

Prompts of equal score count as being in random order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

STEPS = 10


@dataclass(frozen=True, slots=True)
class Routing:
    """The figures of one score on one set of prompts."""

    apgr: float
    cpt50: float
    """Share of strong calls, in [0, 1]."""
    cpt80: float


def routing(scores: npt.ArrayLike, gains: npt.ArrayLike) -> Routing:
    """The metrics of ``scores`` [n], highest first to the strong model.

    ``gains`` [n] is the strong model's correctness less the weak one's. Raises ValueError where
    the strong model is not the better one on the whole: there is no gap to recover.
    """
    shares = np.linspace(0, 1, STEPS + 1)
    recovered = _recovered(np.asarray(scores, dtype=float), np.asarray(gains, dtype=float), shares)
    area = float(np.trapezoid(recovered, shares))
    return Routing(area, _reach(shares, recovered, 0.5), _reach(shares, recovered, 0.8))


def _recovered(scores: Array, gains: Array, shares: Array) -> Array:
    if gains.sum() <= 0:
        raise ValueError("the strong model is no better than the weak one: no gap to recover")
    _, group = np.unique(-scores, return_inverse=True)
    mean = np.bincount(group, gains) / np.bincount(group)
    total = np.concatenate([[0.0], np.cumsum(mean[np.sort(group)])])
    return np.interp(shares, np.linspace(0, 1, len(total)), total / gains.sum())


def _reach(shares: Array, recovered: Array, level: float) -> float:
    """The least share at which ``recovered``, linear between its points, is ``level``."""
    after = int(np.argmax(recovered >= level))
    pair = slice(after - 1, after + 1)
    return float(np.interp(level, recovered[pair], shares[pair]))
