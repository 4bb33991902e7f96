"""A linear classifier of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.students.extraction.tokens import Tokens, features

OUTSIDE = 0
"""The tag of what is not copied."""


@dataclass(frozen=True, slots=True)
class Tagger:
    """What each feature says for each tag."""

    weights: npt.NDArray[np.float32]
    """[buckets, tags]."""
    intercepts: npt.NDArray[np.float32]
    """[tags]."""

    def __call__(self, tokens: Tokens) -> npt.NDArray[np.float64]:
        """Logarithms of the probabilities [n, tags] of the tags of n tokens."""
        scores = self.weights[features(tokens.words)].sum(axis=1, dtype=np.float64)
        scores += self.intercepts
        shifted = scores - scores.max(axis=1, keepdims=True)
        told: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return told


def mean(taggers: Sequence[Tagger]) -> Tagger:
    """What several taggers say on average."""
    weights: npt.NDArray[np.float32] = np.mean([each.weights for each in taggers], axis=0)
    intercepts: npt.NDArray[np.float32] = np.mean([each.intercepts for each in taggers], axis=0)
    return Tagger(weights, intercepts)
