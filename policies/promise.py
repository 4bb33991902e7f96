"""When audits show that a student breaks its promise.

The test may be asked after every audit: it is an e-process, a betting score that starts at 1 and
that has no drift up while the promise holds, so it reaches ``1 / delta`` with probability at most
``delta`` however often one looks (Ville's inequality; Waudby-Smith and Ramdas 2023). The bets are
a uniform mixture over all disagreement rates above ``alpha`` (Robbins 1970).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaincc, betaln


def evidence(audits: int, disagreements: int, alpha: float) -> float:
    """Natural logarithm of the e-value against "at most ``alpha`` of the answers disagree"."""
    hits, misses = disagreements + 1, audits - disagreements + 1
    above = betaincc(hits, misses, alpha)
    if above <= 0:
        return -float("inf")
    mixture = betaln(hits, misses) + np.log(above) - np.log1p(-alpha)
    null = disagreements * np.log(alpha) + (audits - disagreements) * np.log1p(-alpha)
    return float(mixture - null)


def broken(audits: int, disagreements: int, alpha: float, delta: float) -> bool:
    """Whether audits contradict the promise with confidence ``1 - delta``."""
    return evidence(audits, disagreements, alpha) >= -math.log(delta)
