"""Hashed TF-IDF of word and character n-grams: what every label rung and the difficulty model
read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from policies.hashing import BUCKETS, hashed

_BATCH = 64
"""Texts that are hashed at once: bounds the memory that it takes."""


def count_ngrams(texts: Sequence[str]) -> sparse.csr_matrix:
    """Counts [n, 2 * buckets] of word 1-2-grams and character 2-5-grams within words, for one or
    more texts."""
    starts = range(0, len(texts), _BATCH)
    batches = [_count(texts[i : i + _BATCH]) for i in starts]
    return batches[0] if len(batches) == 1 else sparse.vstack(batches, format="csr")


def _count(texts: Sequence[str]) -> sparse.csr_matrix:
    buckets, rows = hashed(texts)
    cells, counts = np.unique(rows * (2 * BUCKETS) + buckets, return_counts=True)
    ends = np.searchsorted(cells, np.arange(len(texts) + 1) * (2 * BUCKETS))
    columns = (cells % (2 * BUCKETS)).astype(np.int32)
    shape = (len(texts), 2 * BUCKETS)
    return sparse.csr_matrix((counts.astype(np.float64), columns, ends), shape=shape)


@dataclass(frozen=True, slots=True)
class TfIdf:
    """Sublinear TF-IDF on the buckets that training texts filled; each kind of n-gram is scaled
    to unit length."""

    columns: npt.NDArray[np.int32]
    """Column of the result for each bucket, -1 for a bucket not seen in training."""
    weights: npt.NDArray[np.float64]
    """Inverse document frequency of each column of the result."""

    @classmethod
    def fit(cls, counts: sparse.csr_matrix) -> TfIdf:
        documents = np.bincount(counts.indices, minlength=counts.shape[1])
        seen = np.flatnonzero(documents)
        columns = np.full(counts.shape[1], -1, dtype=np.int32)
        columns[seen] = np.arange(len(seen))
        return cls(columns, np.log((1 + counts.shape[0]) / (1 + documents[seen])) + 1)

    def __call__(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        """Features [n, columns] of ``counts`` [n, 2 * buckets]."""
        rows = counts.shape[0]
        columns = self.columns[counts.indices]
        known = columns >= 0
        row = np.repeat(np.arange(rows), np.diff(counts.indptr))[known]
        columns = columns[known]
        values = (1 + np.log(counts.data[known])) * self.weights[columns]
        part = 2 * row + (counts.indices[known] >= BUCKETS)
        values /= np.sqrt(np.bincount(part, values**2, minlength=2 * rows))[part]
        ends = np.searchsorted(row, np.arange(rows + 1))
        shape = (rows, len(self.weights))
        return sparse.csr_matrix((values, columns, ends), shape=shape)
