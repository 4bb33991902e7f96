"""Training of a classifier: the one place of a label student that needs scikit-learn.

Labels are the answers seen often enough to learn; all others are one class of their own, so that
the classifier can tell a request whose answer it does not know.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from distill.students.classifier import (
    SURE,
    Array,
    Calibration,
    Classifier,
    Matrix,
    log_odds,
)

MOST_LABELS = 64
LEAST_SUPPORT = 3
"""Training answers a label needs."""

_OTHER = -1
_FOLDS = 5
_STRENGTHS = (3.0, 30.0)
"""Inverse regularisation strengths to choose from, by cross-validated log loss."""
_DUAL_ROWS = 2000
_PULL = 1.0
"""Strength of the calibration's prior, in training answers."""

_CAUTION = 0.4
"""What one unit of surprise takes off the logarithm of the odds, before data say more."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A classifier and what cross-validation says of it, one entry a training row."""

    classifier: Classifier
    confidences: Array
    """Calibrated confidence of the classifier trained without the row."""
    agreed: npt.NDArray[np.bool_]
    """Whether that classifier's answer was the teacher's."""
    probabilities: Array
    """[n, labels]: what that classifier gave each label."""


def frequent_labels(answers: Sequence[str]) -> tuple[str, ...]:
    """The answers that can be learnt, most frequent first."""
    counts = Counter(answers).most_common(MOST_LABELS)
    return tuple(answer for answer, count in counts if count >= LEAST_SUPPORT)


def fit(
    features: Matrix,
    answers: Sequence[str],
    labels: Sequence[str],
    surprise: Array,
    groups: Sequence[Hashable],
    taught: npt.NDArray[np.bool_] | None = None,
) -> Fitted:
    """Train on ``features`` [n, d] and their ``answers`` [n]; ``labels`` as by frequent_labels.

    ``surprise`` [n] is at each row against the others. Cross-validation keeps rows of one of the
    ``groups`` [n] together. Rows that are not ``taught`` [n] are only what it is tested on.
    """
    index = {label: i for i, label in enumerate(labels)}
    y = np.array([index.get(answer, _OTHER) for answer in answers])
    taught = np.ones(len(y), dtype=bool) if taught is None else taught
    if len(np.unique(y[taught])) == 1:
        return _constant(labels, features.shape[1], surprise, y)
    span, back = _span(features)
    strength, out_of_fold = _choose_strength(span, y, _folds(groups), taught)
    out_of_fold = out_of_fold[:, : len(labels)]
    best = out_of_fold.argmax(axis=1)
    raw = out_of_fold[np.arange(len(y)), best]
    calibration = calibrate(raw, surprise, best == y)
    model = LogisticRegression(C=strength, max_iter=100, tol=1e-3).fit(span[taught], y[taught])
    weights, intercepts = _rows(model, len(labels))
    # Laid out feature by feature: a sparse row of features reads its own weights and no others.
    weights = np.ascontiguousarray((weights @ back).T)
    classifier = Classifier(tuple(labels), weights, intercepts, calibration)
    return Fitted(classifier, calibration(raw, surprise), best == y, out_of_fold)


def _constant(
    labels: Sequence[str], width: int, surprise: Array, y: npt.NDArray[np.int64]
) -> Fitted:
    """Where every answer taught is the same, so is the student's."""
    rows = len(surprise)
    # The surprise at what is usual is 1.
    calibration = Calibration(0.0, math.log(rows + 1) + _CAUTION, _CAUTION)
    classifier = Classifier(tuple(labels), np.zeros((width, 1)), np.zeros(1), calibration)
    sure = np.ones(rows)
    return Fitted(classifier, calibration(sure, surprise), y == 0, sure[:, np.newaxis])


def _span(features: Matrix) -> tuple[Matrix, Matrix]:
    """Coordinates of the rows in the space they span, and the map back to feature weights.

    By the representer theorem a penalised linear model has its weights in that space, so training
    there gives the same model, many times faster while rows are fewer than features.
    """
    rows, width = features.shape
    if rows > min(_DUAL_ROWS, width):
        return features, sparse.identity(width, format="csr")
    gram = features @ features.T
    gram = gram.toarray() if sparse.issparse(gram) else gram
    eigenvalues, vectors = np.linalg.eigh(gram)
    kept = eigenvalues > 1e-9 * eigenvalues[-1]
    scale = np.sqrt(eigenvalues[kept])
    return vectors[:, kept] * scale, np.asarray((vectors[:, kept] / scale).T @ features)


def _folds(groups: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    """The fold of each row. Groups take them in turn."""
    found: dict[Hashable, int] = {}
    return np.array([found.setdefault(group, len(found)) % _FOLDS for group in groups])


def _choose_strength(
    features: Matrix,
    y: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64],
    taught: npt.NDArray[np.bool_],
) -> tuple[float, Array]:
    """The regularisation with the least cross-validated log loss, and its probabilities."""
    classes = _with_other_last(y[taught])
    columns = [classes.index(label) for label in y[taught]]
    losses = {}
    for strength in _STRENGTHS:
        probabilities = _cross_validate(features, y, folds, taught, classes, strength)
        truth = probabilities[taught][np.arange(len(columns)), columns]
        losses[strength] = (-np.log(np.clip(truth, SURE, 1)).mean(), probabilities)
    best = min(losses, key=lambda strength: losses[strength][0])
    return best, losses[best][1]


def _cross_validate(
    features: Matrix,
    y: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64],
    taught: npt.NDArray[np.bool_],
    classes: list[int],
    strength: float,
) -> Array:
    """Out-of-fold probabilities [n, classes]."""
    probabilities = np.zeros((len(y), len(classes)))
    for held in np.unique(folds):
        train, test = (folds != held) & taught, folds == held
        if not train.any():
            probabilities[test] = 1 / len(classes)
            continue
        seen = np.unique(y[train])
        columns = [classes.index(label) for label in seen]
        if len(seen) == 1:
            probabilities[np.ix_(test, columns)] = 1.0
            continue
        model = LogisticRegression(C=strength, max_iter=100, tol=1e-3).fit(
            features[train], y[train]
        )
        probabilities[np.ix_(test, columns)] = model.predict_proba(features[test])
    return probabilities


def _with_other_last(y: npt.NDArray[np.int64]) -> list[int]:
    known = sorted({int(label) for label in y} - {_OTHER})
    return [*known, _OTHER] if _OTHER in y else known


def _rows(model: LogisticRegression, labels: int) -> tuple[Array, Array]:
    """Weights and intercepts, one row a class, the class "another" last."""
    weights, intercepts = model.coef_, model.intercept_
    if len(weights) == 1:
        weights = np.vstack([-weights / 2, weights / 2])
        intercepts = np.concatenate([-intercepts / 2, intercepts / 2])
    if model.classes_[0] == _OTHER:
        weights = np.roll(weights, -1, axis=0)
        intercepts = np.roll(intercepts, -1)
    return weights, intercepts


def calibrate(raw: Array, surprise: Array, agreed: npt.NDArray[np.bool_]) -> Calibration:
    """Platt's method (1999) with his smoothed targets, drawn towards leaving ``raw`` as it is.

    Without the pull, answers that are all right would make all confidences the same. Caution is
    never given up: the surprise that matters most is at texts of which there are none here.
    """
    positives, negatives = int(agreed.sum()), int((~agreed).sum())
    target = np.where(agreed, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    x = log_odds(raw)

    def loss(parameters: Array) -> float:
        slope, offset, caution = parameters
        score = slope * x + offset - caution * surprise
        log_loss = np.logaddexp(0, score) - target * score
        pull = (slope - 1) ** 2 + offset**2 + (caution - _CAUTION) ** 2
        return float(log_loss.sum() + _PULL * pull)

    bounds = [(0.1, 10), (-10, 10), (_CAUTION / 2, 10)]
    fitted = minimize(loss, x0=[1.0, 0.0, _CAUTION], method="L-BFGS-B", bounds=bounds)
    return Calibration(*(float(value) for value in fitted.x))
