"""A linear classifier of tokens, and the likeliest span of each slot by it.

Tags are those of chunking (Ramshaw and Marcus 1995): outside, and for each slot its first token and
those that follow. A span is as likely as its tags are, beside all tags that are not its slot's,
where the token after it is not one more of its own; all spans of a text, and that there is none,
make one distribution. What stands in several places is as likely as these are together.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.students.extraction.shape import Slot
from distill.students.extraction.tokens import Tokens, features

OUTSIDE = 0
_LOOKED_AT = 32
"""Likeliest spans of a text that are looked at."""
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Tagger:
    """What each feature says for each tag."""

    weights: npt.NDArray[np.float32]
    """[buckets, tags]."""
    intercepts: npt.NDArray[np.float32]
    """[tags]."""

    def __call__(self, tokens: Tokens) -> npt.NDArray[np.float64]:
        """Logarithms of the probabilities [n, tags] of the tags of n tokens."""
        scores = self.weights[features(tokens.words)].sum(axis=1) + self.intercepts
        scores = scores.astype(np.float64)
        shifted = scores - scores.max(axis=1, keepdims=True)
        told: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return told


def first_tag(slot: int) -> int:
    """The tag of a slot's first token; the next is that of those that follow it."""
    return 1 + 2 * slot


def likeliest(
    tokens: Tokens, told: npt.NDArray[np.float64], place: int, slot: Slot
) -> tuple[str | None, float]:
    """What stands in the slot at that ``place``, None for nothing, and its probability."""
    if not len(tokens):
        return None, float(slot.none is not None)
    scores = _spans(told, place, slot.longest)
    nothing = 0.0 if slot.none is not None else -np.inf
    highest = max(float(scores.max()), nothing)
    shares = np.exp(scores - highest)
    none = float(np.exp(nothing - highest))
    total = shares.sum() + none
    order = np.argsort(-shares, axis=None)[:_LOOKED_AT]
    found: defaultdict[str | None, float] = defaultdict(float, {None: none})
    for at in order.tolist():
        first, more = divmod(at, shares.shape[1])
        surface = tokens.surface(first, min(first + more, len(tokens) - 1))
        if slot.fits(surface):
            found[surface] += float(shares[first, more])
    best = max(found, key=lambda surface: found[surface])
    return best, found[best] / float(total)


def _spans(told: npt.NDArray[np.float64], place: int, longest: int) -> npt.NDArray[np.float64]:
    """[n, longest]: the score of the span from each token on, of one token and more; minus infinity
    where it would go beyond the text."""
    count = len(told)
    first, more = first_tag(place), first_tag(place) + 1
    other = np.log(np.maximum(1 - np.exp(told[:, first]) - np.exp(told[:, more]), _LEAST))
    begins = told[:, first] - other
    goes_on = np.concatenate([[0.0], np.cumsum(told[:, more] - other)])
    stops = np.log(np.maximum(1 - np.exp(told[1:, more]), _LEAST))
    stops = np.concatenate([stops, [0.0]])
    last = np.arange(count)[:, np.newaxis] + np.arange(longest)
    inside = np.minimum(last, count - 1)
    scores = begins[:, np.newaxis] + goes_on[inside + 1] - goes_on[1:][:, np.newaxis]
    return np.where(last < count, scores + stops[inside], -np.inf)
