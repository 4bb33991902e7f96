"""A linear softmax over features, and a calibration of how often its answers agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from distill.students.base import Prediction

Matrix: TypeAlias = Any
"""Rows of features [n, d], dense (numpy) or sparse (scipy CSR)."""

Array = npt.NDArray[np.float64]

SURE = 1e-6
"""Least distance of a probability from 0 and 1, where it is to have a logarithm of the odds."""

STRANGEST = 6.0
"""One in four hundred of a task's texts is a greater surprise."""

_LEAST_ODDS = 500.0

ARRAYS = ("labels", "weights", "intercepts", "calibration")
"""What a classifier is kept as."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt scaling with the surprise at the text as a second feature.

    P(agree) = sigmoid(slope * logit(p) + offset - caution * surprise), p the top label's softmax.
    """

    slope: float
    offset: float
    caution: float

    def __call__(self, probability: Array, surprise: Array) -> Array:
        odds = self.slope * log_odds(probability) + self.offset - self.caution * surprise
        # Beyond it a probability is 0 all the same.
        calibrated: Array = 1 / (1 + np.exp(-np.maximum(odds, -_LEAST_ODDS)))
        return calibrated


@dataclass(frozen=True, slots=True)
class Classifier:
    """``labels`` [k] with ``weights`` [features, k or k + 1]; a last extra column is "another"."""

    labels: tuple[str, ...]
    weights: Array
    intercepts: Array
    calibration: Calibration

    def predict(self, features: Matrix, surprise: Array) -> list[Prediction]:
        """One prediction for each row of ``features`` [n, d], at which the ``surprise`` is [n].

        A row that is stranger than hardly any of the task is not known at all, whatever the answer
        to it seems to be.
        """
        known = self.probabilities(features)
        confidences = self.calibration(known.max(axis=1), surprise) * (surprise <= STRANGEST)
        return [
            self._prediction(row, float(confidence))
            for row, confidence in zip(known, confidences, strict=True)
        ]

    def probabilities(self, features: Matrix) -> Array:
        """What each label [n, k] is given; the rest is for answers that are none of them."""
        scores = np.asarray(features @ self.weights) + self.intercepts
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities: Array = odds / odds.sum(axis=1, keepdims=True)
        return probabilities[:, : len(self.labels)]

    def absorbing(self, first: int, factor: float) -> Classifier:
        """The same for features as they are, where it was trained on ``factor`` times those from
        the one at ``first`` on."""
        weights = self.weights.copy()
        weights[first:] *= factor
        return replace(self, weights=weights)

    def _prediction(self, row: Array, confidence: float) -> Prediction:
        order = np.argsort(-row)
        alternatives = tuple((self.labels[i], float(row[i])) for i in order)
        return Prediction(alternatives[0][0], confidence, alternatives)


def log_odds(probability: Array) -> Array:
    p = np.clip(probability, SURE, 1 - SURE)
    odds: Array = np.log(p / (1 - p))
    return odds


def kept(texts: Sequence[str]) -> npt.NDArray[np.str_]:
    """An array [n] of ``texts`` [n], or [] of all as JSON where one ends in NUL: numpy takes that
    for padding."""
    array = np.array(texts, dtype=np.str_)
    return array if array.tolist() == list(texts) else np.array(json.dumps(texts))


def texts_of(array: npt.NDArray[np.str_]) -> tuple[str, ...]:
    """The inverse of ``kept``."""
    return tuple(array.tolist() if array.ndim else json.loads(array.item()))


def to_arrays(classifier: Classifier) -> dict[str, npt.NDArray[Any]]:
    """The classifier as named arrays, for ``numpy.savez``."""
    calibration = classifier.calibration
    return {
        "labels": kept(classifier.labels),
        "weights": classifier.weights,
        "intercepts": classifier.intercepts,
        "calibration": np.array([calibration.slope, calibration.offset, calibration.caution]),
    }


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> Classifier:
    """The inverse of ``to_arrays``."""
    slope, offset, caution = arrays["calibration"]
    return Classifier(
        texts_of(arrays["labels"]),
        arrays["weights"],
        arrays["intercepts"],
        Calibration(float(slope), float(offset), float(caution)),
    )
