"""Which instructions of a task its students are taught and tested under.

Students never read a request's instruction, so what they have learnt holds under those alone that
the teacher had when it answered. Where a task has few of them, those in use are told apart: what
was answered under one that is asked no more teaches what nobody wants, and a new one has to be seen
for a while. Where an application writes each request's own, none of this can be told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

_MOST = 8
"""Instructions that may be told apart,"""
_COVERED = 0.95
"""where those that are asked most often make up this share of the requests."""
NEWEST = 200
"""Requests among which an instruction in use is found."""
_BEGINNING = 100
"""The first requests of a task, or the older half, have no new ones."""
_ENOUGH = 50
"""Requests after which a new one is known: with fewer, the test might miss that it asks for
something else."""


def in_use(asked: Sequence[str]) -> frozenset[str] | None:
    """The instructions, of those that n requests were ``asked`` [n] under, oldest first, that are
    in use and known; None where they cannot be told apart."""
    counts = Counter(asked)
    covered = sum(times for _, times in counts.most_common(_MOST))
    if covered < _COVERED * len(asked) or not asked:
        return None
    settled = set(asked[: max(len(asked) // 2, _BEGINNING)])
    return frozenset(
        each for each in set(asked[-NEWEST:]) if each in settled or counts[each] >= _ENOUGH
    )


def unknown(newest: Sequence[str], known: Collection[str]) -> frozenset[str]:
    """The instructions that students who have learnt under those that are ``known`` should learn
    under next: a quarter of a task's ``newest`` requests, in any order, had each of them."""
    return frozenset(
        each
        for each, times in Counter(newest[:NEWEST]).items()
        if each not in known and times >= _ENOUGH
    )
