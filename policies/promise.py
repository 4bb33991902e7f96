"""When audits show that a student breaks its promise.

The test may be asked after every audit: it is an e-process, a betting score that starts at 1 and
that has no drift up while the promise holds, so it reaches ``1 / delta`` with probability at most
``delta`` however often one looks (Ville's inequality; Waudby-Smith and Ramdas 2023). The bets are
a uniform mixture over all disagreement rates above ``alpha`` (Robbins 1970).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import exp, fsum, lgamma, log, log1p

_HALVINGS = 40


def evidence(audits: int, disagreements: int, alpha: float) -> float:
    """Natural logarithm of the e-value against "at most ``alpha`` of the answers disagree"."""
    agreements = audits - disagreements
    likelihood = lgamma(disagreements + 1) + lgamma(agreements + 1) - lgamma(audits + 2)
    mixture = likelihood + _log_at_most(disagreements, audits + 1, alpha) - log1p(-alpha)
    null = disagreements * log(alpha) + agreements * log1p(-alpha)
    return mixture - null


def broken(audits: int, disagreements: int, alpha: float, delta: float) -> bool:
    """Whether audits contradict the promise with confidence ``1 - delta``."""
    return evidence(audits, disagreements, alpha) >= -log(delta)


@lru_cache(maxsize=4096)
def drift(audits: int, disagreements: int, alpha: float, delta: float) -> float:
    """How near audits are to contradicting the promise: the evidence as a part of what that takes,
    from 0 (none) on. From 1 on the promise is `broken`."""
    return max(0.0, evidence(audits, disagreements, alpha) / -log(delta))


@lru_cache(maxsize=4096)
def interval(audits: int, disagreements: int, delta: float) -> tuple[float, float]:
    """The rates of disagreement that audits do not contradict with confidence ``1 - delta``.

    It too may be looked at after every audit: with probability ``1 - delta`` it holds the true
    rate always. It is where the e-process of a uniform mixture over all rates against that one is
    below ``1 / delta`` (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021).

    >>> tuple(round(rate, 3) for rate in interval(100, 3, 0.05))
    (0.002, 0.13)
    """
    agreements = audits - disagreements
    mixture = lgamma(disagreements + 1) + lgamma(agreements + 1) - lgamma(audits + 2)

    def contradicted(rate: float) -> bool:
        null = disagreements * log(rate) + agreements * log1p(-rate)
        return mixture - null >= -log(delta)

    seen = disagreements / audits if audits else 0.5
    low = _edge(contradicted, 0.0, seen) if disagreements else 0.0
    high = _edge(contradicted, 1.0, seen) if agreements else 1.0
    return low, high


def _edge(contradicted: Callable[[float], bool], out: float, within: float) -> float:
    """The rate between one ``out`` of the interval and one ``within`` at which that changes."""
    for _ in range(_HALVINGS):
        middle = (out + within) / 2
        if contradicted(middle):
            out = middle
        else:
            within = middle
    return out


def _log_at_most(most: int, trials: int, rate: float) -> float:
    """Logarithm of the probability of ``most`` hits or fewer in so many trials.

    It is that of a rate above ``rate`` after ``most`` hits in one trial less, all rates having been
    as likely before: the regularised incomplete beta function (DLMF 8.17.5), which scipy has, but
    the server does without scipy while no student needs it.
    """
    terms = [
        lgamma(trials + 1)
        - lgamma(hits + 1)
        - lgamma(trials - hits + 1)
        + hits * log(rate)
        + (trials - hits) * log1p(-rate)
        for hits in range(most + 1)
    ]
    highest = max(terms)
    return highest + log(fsum(exp(term - highest) for term in terms))
