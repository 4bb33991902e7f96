"""A linear softmax for each field of a JSON object, and one calibration for the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.students import classifier, forms
from distill.students.base import Prediction
from distill.students.classifier import STRANGEST, Array, Calibration, Classifier, Matrix

_PIECES = "pieces"
_WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class FieldsClassifier:
    """``heads`` [fields] say each field's value, as JSON; ``pieces`` [fields + 1] stand around."""

    pieces: tuple[str, ...]
    heads: tuple[Classifier, ...]
    calibration: Calibration
    """Of the product of what the heads give their values."""

    def predict(self, features: Matrix, surprise: Array) -> list[Prediction]:
        """As ``Classifier.predict``."""
        scores = [head.probabilities(features) for head in self.heads]
        best, raw = joint(scores)
        confidences = self.calibration(raw, surprise) * (surprise <= STRANGEST)
        return [
            self._prediction(row, float(share), float(confidence))
            for row, share, confidence in zip(best, raw, confidences, strict=True)
        ]

    def absorbing(self, first: int, factor: float) -> FieldsClassifier:
        """As ``Classifier.absorbing``."""
        return replace(self, heads=tuple(head.absorbing(first, factor) for head in self.heads))

    def _prediction(
        self, best: npt.NDArray[np.int64], share: float, confidence: float
    ) -> Prediction:
        values = [head.labels[i] for head, i in zip(self.heads, best, strict=True)]
        answer = forms.write(self.pieces, values)
        return Prediction(answer, confidence, ((answer, share),))


def joint(probabilities: Sequence[Array]) -> tuple[npt.NDArray[np.int64], Array]:
    """The likeliest value of each field [n, fields], and what the whole of them is given [n] if one
    field says nothing of another; ``probabilities`` are [n, values], one array a field."""
    best = np.stack([each.argmax(axis=1) for each in probabilities], axis=1)
    shares = np.stack([each.max(axis=1) for each in probabilities], axis=1)
    whole: Array = shares.prod(axis=1)
    return best, whole


def to_arrays(fields: FieldsClassifier) -> dict[str, npt.NDArray[Any]]:
    """The classifier as named arrays, for ``numpy.savez``."""
    whole = fields.calibration
    arrays: dict[str, npt.NDArray[Any]] = {
        _PIECES: classifier.kept(fields.pieces),
        _WHOLE: np.array([whole.slope, whole.offset, whole.caution]),
    }
    for place, head in enumerate(fields.heads):
        arrays |= {_key(place, name): each for name, each in classifier.to_arrays(head).items()}
    return arrays


def is_in(arrays: Mapping[str, npt.NDArray[Any]]) -> bool:
    """Whether ``arrays`` are a ``FieldsClassifier``'s."""
    return _PIECES in arrays


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> FieldsClassifier:
    """The inverse of ``to_arrays``."""
    pieces = classifier.texts_of(arrays[_PIECES])
    heads = [
        classifier.from_arrays({name: arrays[_key(place, name)] for name in classifier.ARRAYS})
        for place in range(len(pieces) - 1)
    ]
    return FieldsClassifier(pieces, tuple(heads), Calibration(*map(float, arrays[_WHOLE])))


def _key(field: int, name: str) -> str:
    return f"field {field} {name}"
