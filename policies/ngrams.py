"""Hashed TF-IDF of word and character n-grams: what every label rung and the difficulty model read.

Texts are hashed in array operations, many at once, so that one alone takes little time as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash
from scipy import sparse

_BITS = 17
_BUCKETS = 2**_BITS
"""Hash buckets for each of the two kinds of n-grams."""

_LONGEST = 8000
"""Characters that are read of a text: its first and its last half of that."""

_BATCH = 64
"""Texts that are hashed at once: bounds the memory that it takes."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_LONGEST_GRAM = 5
"""Characters of the longest character n-gram; the shortest has 2."""

# Odd, without a pattern: hashes are sums of products with powers of it, modulo 2**64, of which the
# highest bits tell apart best (multilinear hashing, Lemire and Kaser 2014).
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

Integers = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]


def count_ngrams(texts: Sequence[str]) -> sparse.csr_matrix:
    """Counts [n, 2 * buckets] of word 1-2-grams and character 2-5-grams within words, for one or
    more texts."""
    starts = range(0, len(texts), _BATCH)
    batches = [_count([_clip(text) for text in texts[i : i + _BATCH]]) for i in starts]
    return batches[0] if len(batches) == 1 else sparse.vstack(batches, format="csr")


def _clip(text: str) -> str:
    half = _LONGEST // 2
    clipped = text if len(text) <= _LONGEST else f"{text[:half]} {text[-half:]}"
    return clipped.lower()


def _count(texts: Sequence[str]) -> sparse.csr_matrix:
    words, word_rows = _words(texts)
    characters, character_rows = _characters(texts)
    buckets = np.concatenate([_bucket(words), _bucket(characters) + _BUCKETS])
    rows = np.concatenate([word_rows, character_rows])
    cells, counts = np.unique(rows * (2 * _BUCKETS) + buckets, return_counts=True)
    ends = np.searchsorted(cells, np.arange(len(texts) + 1) * (2 * _BUCKETS))
    columns = (cells % (2 * _BUCKETS)).astype(np.int32)
    shape = (len(texts), 2 * _BUCKETS)
    return sparse.csr_matrix((counts.astype(np.float64), columns, ends), shape=shape)


def _words(texts: Sequence[str]) -> tuple[Integers, Rows]:
    """Hashes of all words and pairs of neighbours, and the texts that they come from."""
    tokens = [_TOKEN.findall(text) for text in texts]
    rows = np.repeat(np.arange(len(texts)), [len(found) for found in tokens])
    digest = xxhash.xxh3_64_intdigest
    words = np.array(
        [digest(token.encode("utf-8", "surrogatepass")) for found in tokens for token in found],
        dtype=np.uint64,
    )
    neighbours = rows[:-1] == rows[1:]
    pairs = (words[:-1] * _FACTOR + words[1:])[neighbours]
    return np.concatenate([words, pairs]), np.concatenate([rows, rows[:-1][neighbours]])


def _characters(texts: Sequence[str]) -> tuple[Integers, Rows]:
    """Hashes of all character n-grams, and the texts that they come from.

    A space before and after each word is part of it.
    """
    padded = [" ".join(["", *text.split(), ""]) for text in texts]
    encoded = "".join(padded).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(encoded, dtype=np.uint32).astype(np.uint64)
    rows = np.repeat(np.arange(len(texts)), [len(text) for text in padded])
    space = codes == ord(" ")
    # Which n-grams lie within one word: a space can only be at their ends, and two neighbouring
    # spaces part two texts.
    inside = ~(space[:-1] & space[1:])
    hashes, found, found_rows = codes, [], []
    for length in range(2, _LONGEST_GRAM + 1):
        hashes = hashes[:-1] * _FACTOR + codes[length - 1 :]
        found.append(hashes[inside])
        found_rows.append(rows[: len(inside)][inside])
        inside = inside[:-1] & ~space[length - 1 : -1]
    return np.concatenate(found), np.concatenate(found_rows)


def _bucket(hashes: Integers) -> Rows:
    return (hashes * _FACTOR >> np.uint64(64 - _BITS)).astype(np.int64)


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
        part = 2 * row + (counts.indices[known] >= _BUCKETS)
        values /= np.sqrt(np.bincount(part, values**2, minlength=2 * rows))[part]
        ends = np.searchsorted(row, np.arange(rows + 1))
        shape = (rows, len(self.weights))
        return sparse.csr_matrix((values, columns, ends), shape=shape)
