"""Texts that say the same but for trifles: they belong on one side of every test.

MinHash (Broder 1997) over the hashed n-grams that students read, in bands (locality-sensitive
hashing, Indyk and Motwani 1998); what it finds alike is compared in full. It runs on the arrays
that are there anyway, many times faster than on sets of strings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from policies.ngrams import count_ngrams

ALIKE = 0.8
"""Least Jaccard similarity of near-duplicates' n-grams."""

_BANDS = 16
_ROWS = 4
"""Hashes a band: of pairs that are just ``ALIKE`` one in 5,000 shares no band."""

_BOILERPLATE = 0.2
"""N-grams that a greater share of the texts have say nothing of any: a task's constant words."""

_SEED = 0x5EED

Pairs = npt.NDArray[np.int64]


def groups(texts: Sequence[str]) -> tuple[int, ...]:
    """The group of each text, numbered in the order that they come.

    Texts are in one group if they are the same but for case and white space, if they are alike, or
    if a chain of such texts joins them.
    """
    if not texts:
        return ()
    place: dict[str, int] = {}
    rows = [place.setdefault(" ".join(text.lower().split()), len(place)) for text in texts]
    parts = _components(list(place))
    number: dict[int, int] = {}
    return tuple(number.setdefault(int(parts[row]), len(number)) for row in rows)


def _components(texts: Sequence[str]) -> npt.NDArray[np.int32]:
    """The component of each of some different ``texts`` in the graph of what is alike."""
    shingles = _shingles(texts)
    pairs = _candidates(shingles)
    pairs = pairs[_jaccard(shingles, pairs) >= ALIKE]
    links = np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])
    graph = sparse.coo_matrix(links, shape=(len(texts), len(texts)))
    return connected_components(graph, directed=False)[1]


def _shingles(texts: Sequence[str]) -> sparse.csr_matrix:
    """Which n-grams [n, 2 * buckets] each text has, boilerplate left out."""
    counts = count_ngrams(texts)
    having = np.bincount(counts.indices, minlength=counts.shape[1])
    told = having[counts.indices] <= max(2.0, _BOILERPLATE * len(texts))
    ends = np.concatenate([[0], np.cumsum(told)])[counts.indptr]
    columns = counts.indices[told]
    return sparse.csr_matrix((np.ones(len(columns)), columns, ends), shape=counts.shape)


def _candidates(shingles: sparse.csr_matrix) -> Pairs:
    """Pairs [m, 2] of rows that share a band, each row with the first of its bucket alone."""
    filled = np.flatnonzero(np.diff(shingles.indptr))
    if not len(filled):
        return np.empty((0, 2), dtype=np.int64)
    rng = np.random.default_rng(_SEED)
    starts = shingles.indptr[filled]
    kinds, shingle = np.unique(shingles.indices, return_inverse=True)
    found = []
    for _ in range(_BANDS):
        band = np.empty((len(filled), _ROWS), dtype=np.uint32)
        for row in range(_ROWS):
            order = rng.permutation(len(kinds)).astype(np.uint32)
            band[:, row] = np.minimum.reduceat(order[shingle], starts)
        _, first, bucket = np.unique(band, axis=0, return_index=True, return_inverse=True)
        found.append(np.stack([filled[first[bucket.ravel()]], filled], axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def _jaccard(shingles: sparse.csr_matrix, pairs: Pairs) -> npt.NDArray[np.float64]:
    sizes = np.diff(shingles.indptr)
    one, other = pairs[:, 0], pairs[:, 1]
    shared = np.asarray(shingles[one].multiply(shingles[other]).sum(axis=1)).ravel()
    similarity: npt.NDArray[np.float64] = shared / (sizes[one] + sizes[other] - shared)
    return similarity
