"""Difficulty of a prompt for a weak model beside a strong one, learnt from outcomes.

What is learnt is the *gain*, how much better the strong model's answer is. Whether the weak model
is right is another question: where both fail, asking the dearer one buys nothing.

One ridge regression on n-grams, which know the subject, and on the prompt's shape, which carries
over to new ones. The shape enters through a Gaussian kernel (Nyström approximation: Williams and
Seeger 2001), so that its features may act together; scoring is a few sums, without a library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, lsqr

from policies.difficulty.shape import shapes
from policies.ngrams import TfIdf, count_ngrams

Array = npt.NDArray[np.float64]

_NGRAM_SCALE = 0.7
_SHAPE_SCALE = 0.55
"""How much each kind of feature may contribute, before data say otherwise."""

_LANDMARKS = 500
"""Training prompts that others are compared with in shape."""
_WIDTH = 0.1
"""The kernel is ``exp(-width * squared distance)`` of standardised features."""
_FURTHEST = 3.0
"""Standard deviations beyond which an unusual shape is no more unusual."""
_SINGULAR = 1e-6

_PENALTIES = (10.0, 30.0, 100.0)
"""Ridge penalties to choose from, by cross-validated squared error."""
_FOLDS = 5
_ITERATIONS = 60
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class ShapeKernel:
    """Similarity in shape to each of a set of training prompts, the landmarks."""

    mean: Array
    deviation: Array
    landmarks: Array
    """[m, features], standardised."""

    @classmethod
    def fit(cls, raw: Array) -> ShapeKernel:
        """Of shapes [n, features], n >= 1."""
        deviation = raw.std(axis=0)
        kernel = cls(raw.mean(axis=0), np.where(deviation > 0, deviation, 1.0), raw)
        some = np.random.default_rng(0).permutation(len(raw))[:_LANDMARKS]
        return cls(kernel.mean, kernel.deviation, kernel._standardise(raw[some]))

    def __call__(self, raw: Array) -> Array:
        """Similarities [n, m] in (0, 1]."""
        return self._similarity(self._standardise(raw))

    def whitening(self) -> Array:
        """[m, k]: similarities times this have the kernel for their inner products."""
        eigenvalues, vectors = np.linalg.eigh(self._similarity(self.landmarks))
        kept = eigenvalues > _SINGULAR * eigenvalues[-1]
        return np.asarray(vectors[:, kept] / np.sqrt(eigenvalues[kept]))

    def _standardise(self, raw: Array) -> Array:
        return np.clip((raw - self.mean) / self.deviation, -_FURTHEST, _FURTHEST)

    def _similarity(self, rows: Array) -> Array:
        squares = (rows**2).sum(axis=1)[:, None] + (self.landmarks**2).sum(axis=1)
        distance = np.maximum(squares - 2 * rows @ self.landmarks.T, 0)
        return np.asarray(np.exp(-_WIDTH * distance))


@dataclass(frozen=True, slots=True)
class Difficulty:
    """A fitted difficulty model."""

    tfidf: TfIdf
    ngram_weights: Array
    kernel: ShapeKernel
    shape_weights: Array
    """One for each landmark."""
    mean_gain: float

    @classmethod
    def fit(cls, prompts: Sequence[str], gains: npt.ArrayLike) -> Difficulty:
        """Learn from prompts and the ``gains`` [n] seen on them.

        A gain is the quality of the strong model's answer less that of the weak one's, both
        in [0, 1]: 1 where only the strong model is right, 0 where the two are as good, -1 where
        only the weak one is right. Deterministic. Raises ValueError for fewer prompts than there
        are folds of cross-validation (5), lengths that differ, or gains out of [-1, 1].
        """
        y = np.asarray(gains, dtype=np.float64)
        if y.shape != (len(prompts),):
            raise ValueError(f"{len(prompts)} prompts need as many gains, not {y.shape}")
        if len(y) < _FOLDS:
            raise ValueError(f"{len(y)} prompts are too few to learn from: at least {_FOLDS}")
        if not (np.abs(y) <= 1).all():
            raise ValueError("gains must lie in [-1, 1]")
        counts, raw = count_ngrams(prompts), shapes(prompts)
        tfidf, kernel = TfIdf.fit(counts), ShapeKernel.fit(raw)
        whitening = kernel.whitening() * _SHAPE_SCALE
        features = _Features(tfidf(counts) * _NGRAM_SCALE, kernel(raw) @ whitening)
        weights = _ridge(features, y - y.mean(), _choose_penalty(features, y))
        ngrams, shape = np.split(weights, [features.ngrams.shape[1]])
        return cls(tfidf, ngrams * _NGRAM_SCALE, kernel, whitening @ shape, float(y.mean()))

    def score(self, prompts: Sequence[str]) -> Array:
        """Expected gain [n], in [-1, 1], of the strong model on each prompt.

        It is the probability that the strong model's answer is the better one, less the
        probability that it is the worse one. Ask the strong model where it is highest.
        """
        if not prompts:
            return np.zeros(0)
        ngrams = self.tfidf(count_ngrams(prompts)) @ self.ngram_weights
        shape = self.kernel(shapes(prompts)) @ self.shape_weights
        return np.asarray(np.clip(self.mean_gain + ngrams + shape, -1, 1))


@dataclass(frozen=True, slots=True)
class _Features:
    """Sparse and dense columns side by side."""

    ngrams: sparse.csr_matrix
    shape: Array

    def __getitem__(self, rows: npt.NDArray[np.bool_]) -> _Features:
        return _Features(self.ngrams[rows], self.shape[rows])

    def __matmul__(self, weights: Array) -> Array:
        ngrams, shape = np.split(weights, [self.ngrams.shape[1]])
        return np.asarray(self.ngrams @ ngrams + self.shape @ shape)

    def transposed_times(self, rows: Array) -> Array:
        return np.concatenate([self.ngrams.T @ rows, self.shape.T @ rows])


def _choose_penalty(features: _Features, y: Array) -> float:
    """The folds take rows in turn."""
    fold = np.arange(len(y)) % _FOLDS

    def squared_error(penalty: float) -> float:
        total = 0.0
        for held in range(_FOLDS):
            train, test = fold != held, fold == held
            mean = y[train].mean()
            weights = _ridge(features[train], y[train] - mean, penalty)
            total += float(((features[test] @ weights + mean - y[test]) ** 2).sum())
        return total

    return min(_PENALTIES, key=squared_error)


def _ridge(features: _Features, y: Array, penalty: float) -> Array:
    """Weights of least squared error plus ``penalty`` times their squares, by LSQR (Paige and
    Saunders 1982)."""
    width = features.ngrams.shape[1] + features.shape.shape[1]
    operator = LinearOperator(
        (len(y), width),
        matvec=features.__matmul__,
        rmatvec=features.transposed_times,
        dtype=np.float64,
    )
    damping = np.sqrt(penalty)
    found = lsqr(operator, y, damp=damping, atol=_TOLERANCE, btol=_TOLERANCE, iter_lim=_ITERATIONS)
    return np.asarray(found[0])
