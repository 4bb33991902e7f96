"""Label rungs: a linear classifier over n-grams, with or without a sentence embedding beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

from distill.students import classifier
from distill.students.base import Prediction
from distill.students.classifier import Array, Classifier, Matrix
from distill.students.encoder import SentenceEncoder
from distill.students.ngram import TfIdf, count_ngrams


@dataclass(frozen=True, slots=True)
class LabelRung:
    """Answers with one of a closed set of answers.

    Without an ``encoder`` it takes well under a millisecond, with one some milliseconds.
    """

    tfidf: TfIdf
    classifier: Classifier
    encoder: SentenceEncoder | None

    @property
    def name(self) -> str:
        return _name(self.encoder)

    @property
    def fast(self) -> bool:
        return self.encoder is None

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        if not texts:
            return []
        embeddings = None if self.encoder is None else self.encoder.embed(texts)
        features = _beside(self.tfidf(count_ngrams(texts)), embeddings)
        return self.classifier.predict(features)

    def save(self, folder: Path) -> None:
        """Write the rung to a file of its own in ``folder``."""
        arrays = classifier.to_arrays(self.classifier)
        arrays |= {"columns": self.tfidf.columns, "idf": self.tfidf.weights}
        np.savez(_file(folder, self.encoder), allow_pickle=False, **arrays)

    @classmethod
    def load(cls, folder: Path, encoder: SentenceEncoder | None) -> LabelRung:
        with np.load(_file(folder, encoder)) as arrays:
            tfidf = TfIdf(arrays["columns"], arrays["idf"])
            return cls(tfidf, classifier.from_arrays(arrays), encoder)


@dataclass(frozen=True, slots=True)
class Trained:
    """A rung, and for each training text [n] what it made of it when trained without it."""

    rung: LabelRung
    confidences: Array
    agreed: npt.NDArray[np.bool_]


def train(
    texts: Sequence[str],
    answers: Sequence[str],
    labels: Sequence[str],
    encoder: SentenceEncoder | None = None,
) -> Trained:
    """Train a rung on ``texts`` and the teacher's ``answers`` to them, one each.

    ``labels`` are the answers it may give.
    """
    counts = count_ngrams(texts)
    tfidf = TfIdf.fit(counts)
    embeddings = None if encoder is None else encoder.embed(texts)
    fitted = classifier.fit(_beside(tfidf(counts), embeddings), answers, labels)
    rung = LabelRung(tfidf, fitted.classifier, encoder)
    return Trained(rung, fitted.confidences, fitted.agreed)


def _beside(ngrams: sparse.csr_matrix, embeddings: Matrix | None) -> Matrix:
    if embeddings is None:
        return ngrams
    return sparse.hstack([ngrams, sparse.csr_matrix(embeddings)], format="csr")


def _name(encoder: SentenceEncoder | None) -> str:
    return "ngram" if encoder is None else "encoder"


def _file(folder: Path, encoder: SentenceEncoder | None) -> Path:
    return folder / f"{_name(encoder)}.npz"
