"""Two linear classifiers as one: a logarithmic opinion pool (Genest and Zidek 1986).

Each label is given the product of what both give it, to powers that cross-validation finds the
likeliest. Of linear classifiers that is one, too, of their features side by side. Trained together,
n-grams would be taught little beside an encoder that tells nearly all labels by itself, though they
know what it does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from distill.students.classifier import SURE, Array, Classifier
from distill.students.fitting import Fitted, calibrate

_MEAN = np.array([0.5, 0.5])
"""The powers that make the product a geometric mean,"""
_PULL = 1.0
"""and how strongly they are drawn towards these, in training answers: where all answers are told
rightly, higher ones are always likelier."""


def pooled(
    one: Fitted[Classifier], other: Fitted[Classifier], answers: Sequence[str], surprise: Array
) -> Fitted[Classifier]:
    """What both were fitted to as one classifier, of the features of ``one`` before the others;
    with the ``answers`` [n] and the ``surprise`` [n] that they were fitted to."""
    labels = one.classifier.labels
    place = {label: i for i, label in enumerate(labels)}
    y = np.array([place.get(answer, len(labels)) for answer in answers])
    given = np.stack([_logarithms(each) for each in (one, other)])
    counted = one.taught[:, -1]

    def told(powers: Array) -> Array:
        logarithms: Array = log_softmax(np.tensordot(powers, given, 1), axis=1)
        return logarithms

    def losses(logarithms: Array) -> Array:
        return -logarithms[counted, y[counted]]

    def pulled(powers: Array) -> float:
        return float(losses(told(powers)).sum() + _PULL * ((powers - _MEAN) ** 2).sum())

    powers = minimize(pulled, _MEAN, bounds=((0, None), (0, None))).x
    best_told = told(powers)
    out_of_fold = np.exp(best_told)[:, : len(labels)]
    best = out_of_fold.argmax(axis=1)
    raw = out_of_fold.max(axis=1)
    calibration = calibrate(raw, surprise, best == y)
    first, second = one.classifier, other.classifier
    weights = np.concatenate([powers[0] * first.weights, powers[1] * second.weights])
    intercepts = powers[0] * first.intercepts + powers[1] * second.intercepts
    classifier = Classifier(labels, weights, intercepts, calibration)
    said = [labels[i] for i in best]
    sure, loss = calibration(raw, surprise), float(losses(best_told).mean())
    return Fitted(classifier, sure, best == y, said, out_of_fold, loss, one.taught)


def _logarithms(fitted: Fitted[Classifier]) -> Array:
    """[n, classes]: those of what each class was given by a classifier that had not seen the
    row."""
    given = fitted.probabilities
    if fitted.classifier.weights.shape[1] > given.shape[1]:
        # The class of all answers that are no label.
        given = np.hstack([given, 1 - given.sum(axis=1, keepdims=True)])
    logarithms: Array = np.log(np.clip(given, SURE, 1))
    return logarithms
