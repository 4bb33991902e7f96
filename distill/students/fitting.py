"""Training of a classifier: the one place of a label student that needs scikit-learn.

Labels are the answers seen often enough to learn; all others are one class of their own, so that
the classifier can tell a request whose answer it does not know.

What serves is the mean of the models that cross-validation has tested (bagging, Breiman 1996). One
of all rows would be surer of itself than they are: at the same threshold it would answer more than
was tested, and err more often.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize

from distill.students import fields, forms, linear
from distill.students.base import LEAST_SUPPORT
from distill.students.classifier import (
    SURE,
    Array,
    Calibration,
    Classifier,
    Matrix,
    log_odds,
)
from distill.students.fields import FieldsClassifier
from distill.students.forms import Form
from policies.agreement import agree

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

MOST_LABELS = 64

_OTHER = -1
_FOLDS = 5
_STRENGTHS = (3.0, 30.0)
"""Inverse regularisation strengths to choose from, by cross-validated log loss."""
_DUAL_ROWS = 2000
_LEAST_SHARE = 0.01
"""Of a label: one that was given less is not learnt."""
_PULL = 1.0
"""Strength of the calibration's prior, in training answers."""

_CAUTION = 0.4
"""What one unit of surprise takes off the logarithm of the odds, before data say more."""


Made = TypeVar("Made", Classifier, FieldsClassifier)

Rows = npt.NDArray[np.bool_]
"""[n, folds + 1]: the rows that are taught when each fold is held out, and at last."""

Sieve = Callable[[Array, npt.NDArray[np.bool_]], npt.NDArray[np.bool_]]
"""Tells the rows [n] that are better not taught, by out-of-sample probabilities [n, labels], among
those rows [n] alone that may be looked at."""


@dataclass(frozen=True, slots=True)
class Fitted(Generic[Made]):
    """A classifier and what cross-validation says of it, one entry a training row."""

    classifier: Made
    confidences: Array
    """Calibrated confidence of the classifier trained without the row."""
    agreed: npt.NDArray[np.bool_]
    """Whether that classifier's answer was the teacher's."""
    said: Sequence[str]
    """That classifier's answer."""
    probabilities: Array
    """[n, labels]: what that classifier gave each label; [n, 0] of a form."""
    loss: float
    """Cross-validated log loss, in nats an answer; summed over the fields of a form."""
    taught: Rows


@dataclass(frozen=True, slots=True)
class _Targets:
    """What is to be learnt of each row: a class, or shares of several."""

    y: npt.NDArray[np.int64]
    """[n]: the class of its answer, by which it is tested."""
    rows: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]
    shares: Array | None
    """[m]: the classes of rows, and their shares; None where each row has one class."""


@dataclass(frozen=True, slots=True)
class _Tested:
    """Models that were each trained without a fold."""

    probabilities: Array
    """[n, classes]: of each row, by the model without it."""
    weights: Array
    """[classes, d]: the mean of the models that know a class."""
    intercepts: Array
    """[classes]: likewise; not a number for a class that none knows."""


def frequent_labels(answers: Sequence[str]) -> tuple[str, ...]:
    """The answers that can be learnt, most frequent first."""
    counts = Counter(answers).most_common(MOST_LABELS)
    return tuple(answer for answer, count in counts if count >= LEAST_SUPPORT)


def field_labels(form: Form, answers: Sequence[str]) -> list[tuple[str, ...]]:
    """The values of each field that can be learnt, most frequent first."""
    read = [one for answer in answers if (one := form.read(answer)) is not None]
    return [frequent_labels(values) for values in zip(*read, strict=True)]


def fit(
    features: Matrix,
    answers: Sequence[str],
    labels: Sequence[str],
    surprise: Array,
    groups: Sequence[Hashable],
    taught: Rows | Sieve | None = None,
    shares: Array | None = None,
) -> Fitted[Classifier]:
    """Train on ``features`` [n, d] and their ``answers`` [n]; ``labels`` as by frequent_labels.

    ``surprise`` [n] is at each row against the others. Cross-validation keeps rows of one of the
    ``groups`` [n] together. ``taught`` is what another fit to the same rows has found, or a sieve,
    which is used where that makes the classifier agree more often with answers that it has not
    seen; rows that are not taught the classifier is only tested on. ``shares`` [n, labels + 1] is
    what the teacher gave each label, the last for all other answers, where that is known: it is
    learnt in the place of its answers, which are what is tested.
    """
    return _fit(_span(features), answers, labels, surprise, groups, taught, shares)


def fit_form(
    features: Matrix,
    answers: Sequence[str],
    form: Form,
    surprise: Array,
    groups: Sequence[Hashable],
    taught: Rows | None = None,
) -> Fitted[FieldsClassifier]:
    """As ``fit``, a classifier for each field of a form. Only a whole that is right agrees."""
    span = _span(features)
    read = [form.read(answer) for answer in answers]
    fitted = []
    for field, labels in enumerate(field_labels(form, answers)):
        # What is no JSON is no label.
        values = ["" if one is None else one[field] for one in read]
        fitted.append(_fit(span, values, labels, surprise, groups, taught))
    best, raw = fields.joint([one.probabilities for one in fitted])
    heads = tuple(one.classifier for one in fitted)
    said = [
        forms.write(form.pieces, [head.labels[i] for head, i in zip(heads, row, strict=True)])
        for row in best
    ]
    agreed = np.array([agree(*pair) for pair in zip(said, answers, strict=True)], dtype=bool)
    calibration = calibrate(raw, surprise, agreed)
    made = FieldsClassifier(form.pieces, heads, calibration)
    nothing = np.zeros((len(answers), 0))
    loss = sum(one.loss for one in fitted)
    sure = calibration(raw, surprise)
    return Fitted(made, sure, agreed, said, nothing, loss, fitted[0].taught)


def _fit(
    spanned: tuple[Matrix, Matrix],
    answers: Sequence[str],
    labels: Sequence[str],
    surprise: Array,
    groups: Sequence[Hashable],
    taught: Rows | Sieve | None,
    shares: Array | None = None,
) -> Fitted[Classifier]:
    span, back = spanned
    index = {label: i for i, label in enumerate(labels)}
    y = np.array([index.get(answer, _OTHER) for answer in answers])
    every = np.ones((len(y), _FOLDS + 1), dtype=bool)
    if len(np.unique(y)) == 1:
        return _constant(labels, back.shape[1], surprise, every)
    folds = folds_of(groups)
    rows = every if taught is None or callable(taught) else taught
    targets = _targets(y, shares)
    strength, loss, tested = _choose_strength(span, targets, folds, rows)
    if callable(taught):
        told = tested.probabilities[:, : len(labels)]
        sifted = _sift(span, targets, folds, strength, told, taught)
        after = _cross_validate(span, targets, folds, sifted, strength)
        # Of few answers a student is sure that the rare ones are wrong.
        if _agreement(after, y, labels) > _agreement(tested, y, labels):
            rows, tested = sifted, after
    out_of_fold = tested.probabilities[:, : len(labels)]
    best = out_of_fold.argmax(axis=1)
    raw = out_of_fold[np.arange(len(y)), best]
    calibration = calibrate(raw, surprise, best == y)
    weights, intercepts = tested.weights, tested.intercepts
    if np.isnan(intercepts).any():
        # So few rows that no model without a fold had all there is to tell apart.
        weights, intercepts = _rows(_learn(span, targets, rows[:, -1], strength))
    # Laid out feature by feature: a sparse row of features reads its own weights and no others.
    weights = np.ascontiguousarray((weights @ back).T)
    classifier = Classifier(tuple(labels), weights, intercepts, calibration)
    said = [labels[i] for i in best]
    return Fitted(classifier, calibration(raw, surprise), best == y, said, out_of_fold, loss, rows)


def _agreement(tested: _Tested, y: npt.NDArray[np.int64], labels: Sequence[str]) -> float:
    return float((tested.probabilities[:, : len(labels)].argmax(axis=1) == y).mean())


def _constant(
    labels: Sequence[str], width: int, surprise: Array, taught: Rows
) -> Fitted[Classifier]:
    """Where every answer seen is the same, so is the student's."""
    rows = len(surprise)
    # The surprise at what is usual is 1.
    calibration = Calibration(0.0, math.log(rows + 1) + _CAUTION, _CAUTION)
    classifier = Classifier(tuple(labels), np.zeros((width, 1)), np.zeros(1), calibration)
    sure, agreed = np.ones(rows), np.ones(rows, dtype=bool)
    said, all_sure = [labels[0]] * rows, sure[:, np.newaxis]
    return Fitted(classifier, calibration(sure, surprise), agreed, said, all_sure, 0.0, taught)


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


def folds_of(groups: Sequence[Hashable], folds: int = _FOLDS) -> npt.NDArray[np.int64]:
    """The fold of each row. Groups take them in turn."""
    found: dict[Hashable, int] = {}
    return np.array([found.setdefault(group, len(found)) % folds for group in groups])


def _choose_strength(
    features: Matrix, targets: _Targets, folds: npt.NDArray[np.int64], taught: Rows
) -> tuple[float, float, _Tested]:
    """The regularisation with the least cross-validated log loss, that loss, and the models that
    come with it."""
    y = targets.y
    classes = _with_other_last(y)
    counted = taught[:, -1]
    columns = [classes.index(label) for label in y[counted]]
    losses = {}
    for strength in _STRENGTHS:
        tested = _cross_validate(features, targets, folds, taught, strength)
        truth = tested.probabilities[counted][np.arange(len(columns)), columns]
        losses[strength] = (float(-np.log(np.clip(truth, SURE, 1)).mean()), tested)
    best = min(losses, key=lambda strength: losses[strength][0])
    return best, *losses[best]


def _cross_validate(
    features: Matrix,
    targets: _Targets,
    folds: npt.NDArray[np.int64],
    taught: Rows,
    strength: float,
) -> _Tested:
    """A model without each fold, and what it makes of that."""
    classes = _with_other_last(targets.y)
    probabilities = np.zeros((len(targets.y), len(classes)))
    weights = np.zeros((len(classes), features.shape[1]))
    intercepts, knowing = np.zeros(len(classes)), np.zeros(len(classes))
    for held in np.unique(folds):
        train, test = (folds != held) & taught[:, held], folds == held
        probabilities[test], model = _predicted(features, targets, train, test, strength)
        if model is not None:
            known = [classes.index(label) for label in _with_other_last(model.classes_)]
            own_weights, own_intercepts = _rows(model)
            weights[known] += own_weights
            intercepts[known] += own_intercepts
            knowing[known] += 1
    knowing[knowing == 0] = np.nan
    return _Tested(probabilities, weights / knowing[:, np.newaxis], intercepts / knowing)


def _sift(
    features: Matrix,
    targets: _Targets,
    folds: npt.NDArray[np.int64],
    strength: float,
    out_of_fold: Array,
    sieve: Sieve,
) -> Rows:
    """What to teach when a fold is held out, and at last.

    To sift is a part of training: what becomes of a row where a fold is held out must not depend on
    the answers in that fold, or the test would not be one. So each row is judged by a model that
    has seen neither its own fold nor the one that is held out.
    """
    y = targets.y
    taught = np.ones((len(y), _FOLDS + 1), dtype=bool)
    without = {held: np.zeros_like(out_of_fold) for held in np.unique(folds)}
    for one, other in combinations(without, 2):
        train = (folds != one) & (folds != other)
        for held, judged in ((one, folds == other), (other, folds == one)):
            found, _ = _predicted(features, targets, train, judged, strength)
            without[held][judged] = found[:, : out_of_fold.shape[1]]
    for held, probabilities in without.items():
        taught[:, held] = _sifted(y, sieve(probabilities, folds != held))
    taught[:, -1] = _sifted(y, sieve(out_of_fold, np.ones(len(y), dtype=bool)))
    return taught


def _sifted(y: npt.NDArray[np.int64], doubtful: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """What is left; of a class that too little would be left of, everything."""
    left = ~doubtful
    for one in np.unique(y[doubtful]):
        if (left & (y == one)).sum() < LEAST_SUPPORT:
            left |= y == one
    return left


def _predicted(
    features: Matrix,
    targets: _Targets,
    train: npt.NDArray[np.bool_],
    test: npt.NDArray[np.bool_],
    strength: float,
) -> tuple[Array, LogisticRegression | None]:
    """Probabilities [tested, classes] of a model of the rows ``train`` for the rows ``test``, and
    that model; None where there is nothing to tell apart.

    The class "another", if there is one, is the last.
    """
    classes = _with_other_last(targets.y)
    tested = int(test.sum())
    if not train.any():
        return np.full((tested, len(classes)), 1 / len(classes)), None
    probabilities = np.zeros((tested, len(classes)))
    seen = np.unique(targets.classes[train[targets.rows]])
    columns = [classes.index(label) for label in seen]
    if len(seen) == 1:
        probabilities[:, columns] = 1.0
        return probabilities, None
    model = _learn(features, targets, train, strength)
    probabilities[:, columns] = model.predict_proba(features[test])
    return probabilities, model


def _targets(y: npt.NDArray[np.int64], shares: Array | None) -> _Targets:
    """Those of the classes ``y`` [n] of answers, or of the ``shares`` of labels where there are
    some."""
    if shares is None:
        return _Targets(y, np.arange(len(y)), y, None)
    soft = np.where(shares < _LEAST_SHARE, 0.0, shares)
    other = shares.shape[1] - 1
    if _OTHER not in y:
        soft[:, other] = 0.0
    nothing = ~soft.any(axis=1)
    soft[nothing, y[nothing]] = 1.0
    soft /= soft.sum(axis=1, keepdims=True)
    rows, columns = np.nonzero(soft)
    return _Targets(y, rows, np.where(columns == other, _OTHER, columns), soft[rows, columns])


def _learn(
    features: Matrix, targets: _Targets, rows: npt.NDArray[np.bool_], strength: float
) -> LogisticRegression:
    # Only here: commands that fit nothing start at once.
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=100, tol=1e-3)
    if targets.shares is None:
        return model.fit(features[rows], targets.y[rows])
    used = rows[targets.rows]
    learnt, classes = features[targets.rows[used]], targets.classes[used]
    return model.fit(learnt, classes, sample_weight=targets.shares[used])


def _with_other_last(y: npt.NDArray[np.int64]) -> list[int]:
    known = sorted({int(label) for label in y} - {_OTHER})
    return [*known, _OTHER] if _OTHER in y else known


def _rows(model: LogisticRegression) -> tuple[Array, Array]:
    """Weights and intercepts, one row a class, the class "another" last."""
    weights, intercepts = linear.rows(model)
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
