"""Label rungs: linear classifiers over n-grams, over a sentence embedding, or over both."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from distill.students import classifier, fields, novelty
from distill.students.base import Prediction, Rung
from distill.students.classifier import Array, Classifier, Matrix
from distill.students.encoder import SentenceEncoder
from distill.students.fields import FieldsClassifier
from distill.students.forms import Form
from distill.students.novelty import Novelty
from policies.ngrams import TfIdf, count_ngrams

if TYPE_CHECKING:
    from distill.students.fitting import Fitted, Rows, Sieve

Reads = Literal["ngram", "embedding", "both", "tuned"]
"""What of a text a rung reads: the last are n-grams and what the task's own encoder says."""


_LENGTHS = (0.6, 1.2)
"""What to scale sentence embeddings by, beside n-grams, to choose from: those of words and those of
characters each have the length 1."""


@dataclass(frozen=True, slots=True)
class LabelRung:
    """Answers with one of a closed set of answers, or with an object of enumerated fields.

    Without an ``encoder`` it takes well under a millisecond, with one some milliseconds.
    """

    classifier: Classifier | FieldsClassifier
    tfidf: TfIdf | None
    encoder: SentenceEncoder | None
    novelty: Novelty

    @property
    def name(self) -> Reads:
        if self.encoder is None:
            return "ngram"
        if self.encoder.tuned:
            return "tuned"
        return "embedding" if self.tfidf is None else "both"

    @property
    def fast(self) -> bool:
        return self.encoder is None

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        if not texts:
            return []
        counts = count_ngrams(texts)
        ngrams = None if self.tfidf is None else self.tfidf(counts)
        embeddings = None if self.encoder is None else self.encoder.embed(texts)
        return self.classifier.predict(_beside(ngrams, embeddings), self.novelty(counts))

    def save(self, folder: Path) -> None:
        """Write the rung to a file of its own in ``folder``."""
        arrays = _to_arrays(self.classifier) | novelty.to_arrays(self.novelty)
        if self.tfidf is not None:
            arrays |= {"columns": self.tfidf.columns, "idf": self.tfidf.weights}
        np.savez(_file(folder, self.name), allow_pickle=False, **arrays)

    @classmethod
    def load(cls, folder: Path, name: Reads, encoder: SentenceEncoder | None) -> LabelRung:
        """The rung that ``save`` wrote to ``folder``; ``encoder`` unless it reads n-grams alone."""
        with np.load(_file(folder, name)) as arrays:
            tfidf = None if name == "embedding" else TfIdf(arrays["columns"], arrays["idf"])
            made = fields if fields.is_in(arrays) else classifier
            return cls(made.from_arrays(arrays), tfidf, encoder, novelty.from_arrays(arrays))


Made = TypeVar("Made", bound=Rung, covariant=True)


@dataclass(frozen=True, slots=True)
class Trained(Generic[Made]):
    """A rung, and for each training text [n] what it made of it when trained without it."""

    rung: Made
    confidences: Array
    agreed: npt.NDArray[np.bool_]
    said: Sequence[str]
    """[n]: its answers."""
    probabilities: Array
    """[n, labels]: what it gave each label; [n, 0] of a form."""
    taught: Rows
    """What it was trained on: [n, folds + 1]."""
    surprise: Array
    """[n]: how unlike the others each text is, as in ``novelty``."""

    @property
    def suspects(self) -> int:
        """How many texts it was not taught."""
        return int((~self.taught[:, -1]).sum())


def train(
    texts: Sequence[str],
    answers: Sequence[str],
    learnt: Sequence[str] | Form,
    *,
    ngrams: bool = True,
    encoder: SentenceEncoder | None = None,
    groups: Sequence[Hashable] | None = None,
    taught: Rows | Sieve | None = None,
    shares: Array | None = None,
) -> Trained[LabelRung]:
    """Train a rung on ``texts`` and the teacher's ``answers`` to them, one each.

    ``learnt`` are the answers it may give, or their form. It reads n-grams, or the embeddings of
    ``encoder``, or both. No test parts one of the ``groups`` [n]; without any, texts that are the
    same. Those that are not ``taught`` it is only tested on: what another rung of the same texts
    has found, or a sieve that finds it, of labels alone. ``shares`` [n, labels + 1] are what the
    teacher gave each label, where that is known.
    """
    # Only here: to serve a student takes none of what it takes to train one.
    from distill.students import fitting
    from distill.students.pool import pooled

    counts = count_ngrams(texts)
    new, surprise = novelty.fit(texts, counts)
    tfidf, counted = None, None
    if ngrams:
        tfidf = TfIdf.fit(counts)
        counted = tfidf(counts)
    embeddings = None if encoder is None else encoder.embed(texts)
    kept = groups or texts

    def fit(length: float) -> Fitted[Classifier] | Fitted[FieldsClassifier]:
        features = _beside(counted, None if embeddings is None else length * embeddings)
        if isinstance(learnt, Form):
            assert not callable(taught), "a sieve knows labels alone"
            return fitting.fit_form(features, answers, learnt, surprise, kept, taught)
        return fitting.fit(features, answers, learnt, surprise, kept, taught, shares)

    if tfidf is None or encoder is None or (encoder.tuned and isinstance(learnt, Form)):
        fitted = fit(1.0)
        made = fitted.classifier
    elif encoder.tuned:
        assert not isinstance(learnt, Form), "a form's classifiers are not pooled"
        cheap = fitting.fit(counted, answers, learnt, surprise, kept, taught, shares)
        own = fitting.fit(embeddings, answers, learnt, surprise, kept, cheap.taught, shares)
        fitted = pooled(cheap, own, answers, surprise)
        made = fitted.classifier
    else:
        fits = {length: fit(length) for length in _LENGTHS}
        length = min(fits, key=lambda each: fits[each].loss)
        fitted = fits[length]
        made = fitted.classifier.absorbing(len(tfidf.weights), length)
    rung = LabelRung(made, tfidf, encoder, new)
    return Trained(
        rung,
        fitted.confidences,
        fitted.agreed,
        fitted.said,
        fitted.probabilities,
        fitted.taught,
        surprise,
    )


def _to_arrays(made: Classifier | FieldsClassifier) -> dict[str, npt.NDArray[Any]]:
    if isinstance(made, FieldsClassifier):
        return fields.to_arrays(made)
    return classifier.to_arrays(made)


def _beside(ngrams: sparse.csr_matrix | None, embeddings: Matrix | None) -> Matrix:
    if embeddings is None:
        return ngrams
    if ngrams is None:
        return np.asarray(embeddings, dtype=np.float64)
    return sparse.hstack([ngrams, sparse.csr_matrix(embeddings)], format="csr")


def _file(folder: Path, name: Reads) -> Path:
    return folder / f"{name}.npz"
