"""How unlike its training data a text is: what tells a student that it is out of its depth.

A classifier may be sure of its answer to gibberish, to another language or to another task's
prompt, for it only knows how its answers differ from each other. What gives such texts away is how
few of their n-grams any training text had. How unusual that is, training texts tell, each held
against the others; where the strangest tenth of them begins an exponential tail takes over (peaks
over threshold: Pickands 1975; as a test of novelty: Siffer et al. 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Array = npt.NDArray[np.float64]

TAIL = 0.1
"""Share of training texts beyond which the tail begins."""

_LEAST_SCALE = 0.01
"""Least mean excess of a tail: of a hundred n-grams one more is new."""

FOUND = 0.02
"""Added to the share of a text's n-grams that are known, so that it has a logarithm."""


@dataclass(frozen=True, slots=True)
class Novelty:
    """Surprise at a text: minus the logarithm of the share of the task's texts that are stranger.

    Among the task's texts it is 1 on average; at others it may be hundreds. A text is as strange
    as minus the logarithm of the share of its n-grams that are known is great.
    """

    seen: npt.NDArray[np.bool_]
    """[2 * buckets]: whether a training text had an n-gram of the bucket."""
    usual: Array
    """How strange training texts were, in order, up to the tail."""
    scale: float
    """Mean excess in the tail."""

    def __call__(self, counts: sparse.csr_matrix) -> Array:
        """The surprise [n] at texts with these n-gram ``counts`` [n, 2 * buckets]."""
        return self.surprise(_strangeness(counts, self.seen))

    def surprise(self, strangeness: Array) -> Array:
        below = np.searchsorted(self.usual, strangeness, side="left") / len(self.usual)
        beyond = np.maximum(strangeness - self.usual[-1], 0.0) / self.scale
        surprise: Array = beyond - np.log(1 - (1 - TAIL) * below)
        return surprise


def fit(texts: Sequence[str], counts: sparse.csr_matrix) -> tuple[Novelty, Array]:
    """The novelty of others against ``texts`` [n], whose n-gram counts are ``counts`` [n, 2 *
    buckets], and the surprise at each of these against the rest."""
    # A text that came again would say that nothing is ever new.
    first = {text: row for row, text in reversed(list(enumerate(texts)))}
    place = {text: i for i, text in enumerate(first)}
    counts = counts[list(first.values())]
    having = np.bincount(counts.indices, minlength=counts.shape[1])
    # What only one text has would be new in it, had it not been there.
    strangeness = _strangeness(counts, having > 1)
    ordered = np.sort(strangeness)
    kept = max(1, round((1 - TAIL) * len(ordered)))
    excess = ordered[kept:] - ordered[kept - 1]
    scale = max(float(excess.mean()) if len(excess) else 0.0, _LEAST_SCALE)
    novelty = Novelty(having > 0, ordered[:kept], scale)
    return novelty, novelty.surprise(strangeness)[[place[text] for text in texts]]


def to_arrays(novelty: Novelty) -> dict[str, npt.NDArray[Any]]:
    """The novelty as named arrays, for ``numpy.savez``."""
    return {
        "seen": np.packbits(novelty.seen),
        "usual": novelty.usual,
        "scale": np.array(novelty.scale),
    }


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> Novelty:
    """The inverse of ``to_arrays``."""
    seen = np.unpackbits(arrays["seen"]).astype(bool)
    return Novelty(seen, arrays["usual"], float(arrays["scale"]))


def _strangeness(counts: sparse.csr_matrix, known: npt.NDArray[np.bool_]) -> Array:
    """How strange [n] texts are of whose n-grams those of ``known`` buckets are known. Words count
    as much as characters do."""
    rows = counts.shape[0]
    row = np.repeat(np.arange(rows), np.diff(counts.indptr))
    kind = 2 * row + (counts.indices >= counts.shape[1] // 2)
    total = np.bincount(kind, minlength=2 * rows)
    found = np.bincount(kind, known[counts.indices], minlength=2 * rows)
    # A text without any is not strange.
    shares = np.where(total > 0, found / np.maximum(total, 1), 1.0).reshape(rows, 2).mean(axis=1)
    strangeness: Array = -np.log(shares + FOUND)
    return strangeness
