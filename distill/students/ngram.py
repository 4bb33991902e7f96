"""Hashed TF-IDF of word and character n-grams: the features that every label rung reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

_BUCKETS = 2**17
"""Hash buckets for each of the two kinds of n-grams."""

_LONGEST = 8000
"""Characters that are read of a text: its first and its last half of that."""

_HASHERS = tuple(
    HashingVectorizer(
        analyzer=analyzer,
        ngram_range=lengths,
        token_pattern=r"(?u)\w+|[^\w\s]" if analyzer == "word" else None,
        n_features=_BUCKETS,
        norm=None,
        alternate_sign=False,
    )
    for analyzer, lengths in (("word", (1, 2)), ("char_wb", (2, 5)))
)


def count_ngrams(texts: Sequence[str]) -> sparse.csr_matrix:
    """Counts [n, 2 * buckets] of word 1-2-grams and character 2-5-grams within words."""
    clipped = [_clip(text) for text in texts]
    return sparse.hstack([hasher.transform(clipped) for hasher in _HASHERS], format="csr")


def _clip(text: str) -> str:
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} {text[-half:]}"


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
        rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        columns = self.columns[counts.indices]
        known = columns >= 0
        rows, columns = rows[known], columns[known]
        values = (1 + np.log(counts.data[known])) * self.weights[columns]
        kind = (counts.indices[known] >= _BUCKETS).astype(np.int64)
        squares = np.bincount(2 * rows + kind, values**2, minlength=2 * counts.shape[0])
        values = values / np.sqrt(squares[2 * rows + kind])
        shape = (counts.shape[0], len(self.weights))
        return sparse.csr_matrix((values, (rows, columns)), shape=shape)
