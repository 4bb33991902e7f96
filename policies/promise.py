"""When audits show that a student breaks its promise.

The test may be asked after every audit: it is an e-process, a betting score that starts at 1 and
that has no drift up while the promise holds, so it reaches ``1 / delta`` with probability at most
``delta`` however often one looks (Ville's inequality; Waudby-Smith and Ramdas 2023). The bets are
a uniform mixture over all disagreement rates above ``alpha`` (Robbins 1970).

Half of what is bet is on the whole life of a student. A long good life loses nearly all of that,
so the other half is kept for fresh starts, as e-detectors have them (Shin, Ramdas and Rinaldo
2022): one before each block of audits but the first, and the ``j``-th of them, j = 1, 2, ..., has
``1 / (2 j (j + 1))`` of all. What is kept for a start that has not come stays as it is. The parts
sum to 1, and each is multiplied by an e-process that is 1 until its start, so that their sum is an
e-process too, and Ville's inequality holds for it over the whole life. (An e-detector has no such
parts: it bounds how soon a wrong alarm comes on average, not whether one ever does.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import exp, fsum, lgamma, log, log1p
from typing import TYPE_CHECKING

from telemetry.audits import AuditBlocks, Blocks

if TYPE_CHECKING:
    from config.settings import PolicySettings

_HALVINGS = 40

_MOST = 700.0
"""Logarithms of e-values beyond it count as it: ``exp`` of 710 is none any more."""

_NEGLIGIBLE = -50.0
"""Logarithm of a probability that is none beside 1, be it that of a thousand events."""

_EPSILON = 1e-17


@dataclass(frozen=True, slots=True)
class Promise:
    """Of the answers that students give, at most ``alpha`` disagree with the teacher's, with
    confidence ``1 - delta``."""

    alpha: float
    delta: float

    @classmethod
    def of(cls, policy: PolicySettings) -> Promise:
        return cls(policy.alpha, policy.delta)

    def covers(self, other: Promise) -> bool:
        """Whether who keeps it keeps the ``other`` too."""
        return self.alpha <= other.alpha and self.delta <= other.delta

    def __str__(self) -> str:
        return f"alpha {self.alpha:g} and delta {self.delta:g}"


@dataclass(frozen=True, slots=True)
class Breach:
    """Audits that contradict the promise: those of the start that has won the most."""

    stratum: str | None
    """The slice that breaks it on its own; None where all requests together do."""
    audits: int
    disagreements: int
    lifelong: bool
    """Whether these are all of the student's audits, there or altogether, and not the newest."""

    def __str__(self) -> str:
        """As in "17 of the last 80 audits disagree"."""
        audits = f"{self.audits} audits" if self.lifelong else f"the last {self.audits} audits"
        of = "" if self.stratum is None else f" of '{self.stratum}'"
        return f"{self.disagreements} of {audits}{of} disagree"


@dataclass(frozen=True, slots=True)
class _Start:
    """One of the bets: since when, and what it has come to."""

    audits: int
    disagreements: int
    first: bool
    value: float
    """The share that was bet, times the e-value since."""


def evidence(audits: int, disagreements: int, alpha: float) -> float:
    """Natural logarithm of the e-value against "at most ``alpha`` of the answers disagree", of the
    bet that was made before the first of these audits."""
    agreements = audits - disagreements
    likelihood = lgamma(disagreements + 1) + lgamma(agreements + 1) - lgamma(audits + 2)
    mixture = likelihood + _log_at_most(disagreements, audits + 1, alpha) - log1p(-alpha)
    null = disagreements * log(alpha) + agreements * log1p(-alpha)
    return mixture - null


def restarted(blocks: Blocks, alpha: float) -> float:
    """Natural logarithm of the e-value against "at most ``alpha`` of the answers disagree", of the
    bets on the whole life and on all fresh starts together.

    It is never above an e-process, for any lengths of blocks that are fixed beforehand: starts
    since when no more than ``alpha`` disagree are left out, which takes off less than 1 and much of
    the time. One more audit that agrees never makes it larger. 0 without any audit.
    """
    return log(_idle(blocks) + fsum(start.value for start in _starts(blocks, alpha)))


def broken(blocks: Blocks, alpha: float, delta: float) -> bool:
    """Whether audits contradict the promise with confidence ``1 - delta``, at any time."""
    return restarted(blocks, alpha) >= -log(delta)


def breach(audits: AuditBlocks, strata: int, alpha: float, delta: float) -> Breach | None:
    """What of a student's audits contradicts the promise, if anything does.

    All of them are tested with ``delta``. Where slices must keep the promise each on its own there
    are so many ``strata``, 0 where that is not so, and each of them is tested with its part of
    another ``delta`` (Bonferroni).
    """
    if broken(audits.whole, alpha, delta):
        return _given_away(None, audits.whole, alpha)
    for stratum, blocks in _strata(audits, strata).items():
        if broken(blocks, alpha, delta / strata):
            return _given_away(stratum, blocks, alpha)
    return None


def drift(audits: AuditBlocks, strata: int, alpha: float, delta: float) -> float:
    """How near audits are to contradicting the promise: the evidence as a part of what that takes,
    from 0 (none) on, the largest of all tests. From 1 on there is a `breach`."""
    parts = [restarted(audits.whole, alpha) / -log(delta)]
    for blocks in _strata(audits, strata).values():
        parts.append(restarted(blocks, alpha) / -log(delta / strata))
    return max(0.0, *parts)


def _strata(audits: AuditBlocks, strata: int) -> Mapping[str, Blocks]:
    return audits.by_stratum if strata else {}


def _idle(blocks: Blocks) -> float:
    """What is bet on starts that have not come: all of it before the first audit, later the sum of
    ``1 / (2 j (j + 1))`` from the number of blocks on."""
    return 0.5 / len(blocks) if blocks else 1.0


def _starts(blocks: Blocks, alpha: float) -> Iterator[_Start]:
    """The starts since when more than ``alpha`` disagree, the latest first."""
    audits = disagreements = 0
    for before in reversed(range(len(blocks))):
        audits += blocks[before].audits
        disagreements += blocks[before].disagreements
        if disagreements > alpha * audits:
            share = 0.5 / (before * (before + 1)) if before else 0.5
            won = exp(min(evidence(audits, disagreements, alpha), _MOST))
            yield _Start(audits, disagreements, not before, share * won)


def _given_away(stratum: str | None, blocks: Blocks, alpha: float) -> Breach:
    best = max(_starts(blocks, alpha), key=lambda start: start.value)
    return Breach(stratum, best.audits, best.disagreements, best.first)


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
    top = (
        lgamma(trials + 1)
        - lgamma(most + 1)
        - lgamma(trials - most + 1)
        + most * log(rate)
        + (trials - most) * log1p(-rate)
    )
    if top < _NEGLIGIBLE and most > rate * trials:
        return 0.0
    # The probabilities of fewer and fewer hits, as multiples of that of the most.
    term = together = 1.0
    odds = (1 - rate) / rate
    for hits in range(most, 0, -1):
        term *= odds * hits / (trials - hits + 1)
        together += term
        if term < _EPSILON * together:
            break
    return top + log(together)
