"""The rung that has a provider's model answer, and knows beforehand how likely that will do.

How sure it is comes from the prompt alone: the difficulty model says how much would be lost if the
cheaper model answered, learnt from tryouts in which both models did, and what was observed puts it
right (Platt scaling), as for the students that run here.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distill.students import novelty
from distill.students.base import HOSTED, Prediction
from distill.students.classifier import STRANGEST, Array, Calibration
from distill.students.novelty import Novelty
from policies.difficulty.model import Difficulty, ShapeKernel
from policies.ngrams import TfIdf, count_ngrams

_FILE = f"{HOSTED}.npz"


@dataclass(frozen=True, slots=True)
class HostedRung:
    """Says which model to ask, and how likely its answer is the teacher's."""

    model: str
    """By its name in the settings."""
    difficulty: Difficulty
    calibration: Calibration
    """Of the expected agreement."""
    novelty: Novelty

    @property
    def name(self) -> str:
        return HOSTED

    @property
    def fast(self) -> bool:
        return True

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Predictions without an answer: the model is to be asked for it."""
        if not texts:
            return []
        surprise = self.novelty(count_ngrams(texts))
        expected = 1 - self.difficulty.score(texts)
        sure = self.calibration(expected, surprise) * (surprise <= STRANGEST)
        return [Prediction("", confidence, asks=self.model) for confidence in sure.tolist()]

    def save(self, folder: Path) -> None:
        """Write the rung to a file of its own in ``folder``."""
        learnt, kernel = self.difficulty, self.difficulty.kernel
        arrays = {
            "model": np.array(self.model),
            "columns": learnt.tfidf.columns,
            "idf": learnt.tfidf.weights,
            "ngram_weights": learnt.ngram_weights,
            "shape_weights": learnt.shape_weights,
            "mean_gain": np.array(learnt.mean_gain),
            "calibration": np.array(astuple(self.calibration)),
            **{f"kernel_{name}": array for name, array in asdict(kernel).items()},
        }
        arrays |= novelty.to_arrays(self.novelty)
        np.savez(folder / _FILE, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, folder: Path) -> HostedRung:
        """The rung that ``save`` wrote to ``folder``."""
        with np.load(folder / _FILE) as arrays:
            names = ("mean", "deviation", "landmarks")
            learnt = Difficulty(
                TfIdf(arrays["columns"], arrays["idf"]),
                arrays["ngram_weights"],
                ShapeKernel(*(arrays[f"kernel_{name}"] for name in names)),
                arrays["shape_weights"],
                float(arrays["mean_gain"]),
            )
            calibration = Calibration(*arrays["calibration"].tolist())
            model = str(arrays["model"])
            return cls(model, learnt, calibration, novelty.from_arrays(arrays))


@dataclass(frozen=True, slots=True)
class Trained:
    """A rung, and for each text of a tryout [n] what it made of it when trained without it."""

    rung: HostedRung
    confidences: Array
    surprise: Array
    """How unlike the others each text is, as in ``novelty``."""


def train(
    model: str, texts: Sequence[str], agreed: npt.NDArray[np.bool_], groups: Sequence[Hashable]
) -> Trained:
    """Learn from tryouts of ``model``, n at least 10: ``texts``, and whether it ``agreed`` [n].

    Cross-validation keeps texts of one of the ``groups`` [n] together.
    """
    # Only here: to serve a student takes none of what it takes to train one.
    from distill.students import fitting

    new, surprise = novelty.fit(texts, count_ngrams(texts))
    lost = 1.0 - agreed
    fold = fitting.folds_of(groups)
    expected = np.zeros(len(texts))
    for held in np.unique(fold):
        others, tested = (
            np.flatnonzero(fold != held).tolist(),
            np.flatnonzero(fold == held).tolist(),
        )
        learnt = Difficulty.fit([texts[row] for row in others], lost[others])
        expected[tested] = 1 - learnt.score([texts[row] for row in tested])
    calibration = fitting.calibrate(expected, surprise, agreed)
    rung = HostedRung(model, Difficulty.fit(texts, lost), calibration, new)
    return Trained(rung, calibration(expected, surprise), surprise)
