"""In what order a training sees what it learns from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_BUCKET = 8
"""Batches that are filled by length from one random draw."""


def by_length(lengths: Sequence[int], size: int, epochs: int, seed: int) -> Iterator[list[int]]:
    """The places of what has these ``lengths``, at most ``size`` at once, each once an epoch.

    Those of like length come together: padding costs as much as text.
    """
    rng = random.Random(seed)
    for _ in range(epochs):
        drawn = rng.sample(range(len(lengths)), len(lengths))
        batches = []
        for start in range(0, len(drawn), _BUCKET * size):
            bucket = sorted(drawn[start : start + _BUCKET * size], key=lambda i: lengths[i])
            batches += [bucket[at : at + size] for at in range(0, len(bucket), size)]
        rng.shuffle(batches)
        yield from batches
