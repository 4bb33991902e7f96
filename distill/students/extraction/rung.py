"""The rung that copies its answers from the request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.students import classifier, novelty
from distill.students.base import EXTRACTION, Prediction
from distill.students.classifier import STRANGEST, Array, Calibration, Classifier
from distill.students.extraction.decoding import fill
from distill.students.extraction.shape import Extraction
from distill.students.extraction.tagger import Tagger
from distill.students.extraction.tokens import BUCKETS, Tokens
from distill.students.novelty import Novelty
from policies.ngrams import TfIdf, count_ngrams

_JSON, _ARRAYS = f"{EXTRACTION}.json", f"{EXTRACTION}.npz"


@dataclass(frozen=True, slots=True)
class Copied:
    """What is copied from n texts into those fields of an extraction that are."""

    values: list[list[str]]
    """[n, copied]."""
    shares: Array
    """[n, copied]: the probability of each."""


def copy(extraction: Extraction, tagger: Tagger, texts: Sequence[str]) -> Copied:
    """What ``extraction`` copies from each of ``texts``."""
    values, shares = [], []
    for text in texts:
        tokens = Tokens.of(text)
        filled, given = fill(extraction, tokens, tagger(tokens))
        values.append(filled)
        shares.append(given)
    shape = (len(texts), len(extraction.copied))
    return Copied(values, np.array(shares, dtype=np.float64).reshape(shape))


@dataclass(frozen=True, slots=True)
class ExtractionRung:
    """Answers with what stands in the request, and with one of a few values where a field has
    these. It takes about a millisecond."""

    extraction: Extraction
    tagger: Tagger
    heads: tuple[Classifier, ...]
    """One for each field that is not copied."""
    tfidf: TfIdf
    novelty: Novelty
    calibration: Calibration
    """Of the product of what all values are given."""

    @property
    def name(self) -> str:
        return EXTRACTION

    @property
    def fast(self) -> bool:
        return True

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        if not texts:
            return []
        counts = count_ngrams(texts)
        copied = copy(self.extraction, self.tagger, texts)
        features = self.tfidf(counts) if self.heads else None
        chosen = [head.probabilities(features) for head in self.heads]
        shares = [copied.shares, *(each.max(axis=1, keepdims=True) for each in chosen)]
        raw = np.concatenate(shares, axis=1).prod(axis=1)
        surprise = self.novelty(counts)
        confidences = self.calibration(raw, surprise) * (surprise <= STRANGEST)
        said = []
        for row, values in enumerate(copied.values):
            heads = zip(self.heads, chosen, strict=True)
            labels = [head.labels[int(each[row].argmax())] for head, each in heads]
            answer = self.extraction.write(self.extraction.in_order(values, labels))
            share, confidence = float(raw[row]), float(confidences[row])
            said.append(Prediction(answer, confidence, ((answer, share),)))
        return said

    def save(self, folder: Path) -> None:
        """Write the rung to files of its own in ``folder``."""
        found = {"extraction": self.extraction.as_json(), "heads": len(self.heads)}
        (folder / _JSON).write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
        told = np.flatnonzero(self.tagger.weights.any(axis=1))
        whole = self.calibration
        arrays: dict[str, npt.NDArray[Any]] = {
            "told": told,
            "weights": self.tagger.weights[told],
            "intercepts": self.tagger.intercepts,
            "whole": np.array([whole.slope, whole.offset, whole.caution]),
            "columns": self.tfidf.columns,
            "idf": self.tfidf.weights,
        }
        arrays |= novelty.to_arrays(self.novelty)
        for place, head in enumerate(self.heads):
            arrays |= {_key(place, name): each for name, each in classifier.to_arrays(head).items()}
        np.savez(folder / _ARRAYS, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, folder: Path) -> ExtractionRung:
        """What ``save`` wrote. Raises OSError, KeyError, ValueError."""
        found = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        with np.load(folder / _ARRAYS) as arrays:
            intercepts = arrays["intercepts"]
            weights = np.zeros((BUCKETS, len(intercepts)), dtype=np.float32)
            weights[arrays["told"]] = arrays["weights"]
            heads = [
                classifier.from_arrays({name: arrays[_key(i, name)] for name in classifier.ARRAYS})
                for i in range(found["heads"])
            ]
            return cls(
                Extraction.from_json(found["extraction"]),
                Tagger(weights, intercepts),
                tuple(heads),
                TfIdf(arrays["columns"], arrays["idf"]),
                novelty.from_arrays(arrays),
                Calibration(*map(float, arrays["whole"])),
            )


def _key(head: int, name: str) -> str:
    return f"head {head} {name}"
