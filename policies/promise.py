"""When audits show that a student breaks its promise.

The test may be asked after every audit: it is an e-process, a betting score that starts at 1 and
that has no drift up while the promise holds, so it reaches ``1 / delta`` with probability at most
``delta`` however often one looks (Ville's inequality; Waudby-Smith and Ramdas 2023). The bets are
a uniform mixture over all disagreement rates above ``alpha`` (Robbins 1970).
"""

from __future__ import annotations

from math import exp, fsum, lgamma, log, log1p


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
