"""The rung that writes its answers, token by token."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from distill.students import novelty
from distill.students.base import TEXT, Prediction
from distill.students.classifier import STRANGEST, Array, Calibration
from distill.students.novelty import Novelty
from distill.students.text.engine import Engine, Sampling, Written
from distill.students.text.job import ADAPTER, ENGINE
from policies.ngrams import count_ngrams

_MANIFEST = "text.json"
_NOVELTY = "novelty.npz"


@dataclass(frozen=True)
class TextRung:
    """Writes an answer; its model is loaded when it is first asked, and goes with the rung."""

    folder: Path
    """Where its model lies."""
    most_tokens: int
    """Longest answer that it may write."""
    calibration: Calibration
    """Of the probability that the model gives the whole answer."""
    novelty: Novelty

    @property
    def name(self) -> str:
        return TEXT

    @property
    def fast(self) -> bool:
        return False

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        if not texts:
            return []
        written = self._engine.write(texts, Sampling(self.most_tokens))
        surprise = self.novelty(count_ngrams(texts))
        sure = confidences(written, surprise, self.calibration)
        return [
            Prediction(one.text, confidence, ((one.text, confidence),))
            for one, confidence in zip(written, sure.tolist(), strict=True)
        ]

    @cached_property
    def _engine(self) -> Engine:
        return Engine(self.folder / ENGINE)

    def save(self, folder: Path) -> None:
        """Write the rung to a folder of its own in ``folder``."""
        target = folder / TEXT
        target.mkdir(parents=True, exist_ok=True)
        for part in (ENGINE, ADAPTER):
            shutil.copytree(self.folder / part, target / part, dirs_exist_ok=True)
        np.savez(target / _NOVELTY, allow_pickle=False, **novelty.to_arrays(self.novelty))
        manifest = {"most_tokens": self.most_tokens, "calibration": asdict(self.calibration)}
        (target / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TextRung:
        """The rung that ``save`` wrote to ``folder``."""
        own = folder / TEXT
        manifest = json.loads((own / _MANIFEST).read_text(encoding="utf-8"))
        with np.load(own / _NOVELTY) as arrays:
            new = novelty.from_arrays(arrays)
        return cls(own, manifest["most_tokens"], Calibration(**manifest["calibration"]), new)


def probability(written: Written) -> float:
    """What the model gives the whole answer: how likely it is to be the teacher's, word for word,
    as far as the model knows. 0 for an answer without an end."""
    return math.exp(sum(written.logprobs)) if written.finished else 0.0


def confidences(written: Sequence[Written], surprise: Array, calibration: Calibration) -> Array:
    """Calibrated probabilities [n] of agreement; 0 where an answer has no end or a text is stranger
    than hardly any of the task."""
    raw = np.array([probability(one) for one in written])
    usable = np.array([one.finished for one in written]) & (surprise <= STRANGEST)
    return calibration(raw, surprise) * usable
