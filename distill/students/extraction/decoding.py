"""The likeliest values by the tags of a text's tokens.

Tags are those of chunking (Ramshaw and Marcus 1995): outside, and for each sort of span its first
token and those that follow. Of a slot, a span is as likely as its tags are, beside all tags that
are not its slot's, where the token after it is not one more of its own; all spans of a text, and
that there is none, make one distribution. What stands in several places is as likely as these are
together. Of a series, all ways to mark any number of spans make one distribution.

An exported student that copies carries this file, and what it imports beside it.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import numpy.typing as npt

from .shape import Extraction, Item, Series, Slot
from .tokens import Tokens

Array = npt.NDArray[np.float64]

_LOOKED_AT = 32
"""Likeliest spans of a text that are looked at."""
_LEAST = 1e-9


def fill(extraction: Extraction, tokens: Tokens, told: Array) -> tuple[list[str], list[float]]:
    """The values that are copied [copied] from ``tokens``, and the probability of each.

    ``told`` [n, tags] are logarithms of the probabilities of the tags of n tokens.
    """
    values, shares = [], []
    for field, first in zip(extraction.copied, extraction.tags, strict=False):
        if isinstance(field, Slot):
            surface, share = likeliest(tokens, told, first, field)
            values.append(field.write(surface))
        else:
            items, share = series(tokens, told, first, field)
            values.append(field.write(items))
        shares.append(share)
    return values, shares


def likeliest(tokens: Tokens, told: Array, first: int, slot: Slot) -> tuple[str | None, float]:
    """What stands in the slot whose ``first`` tag that is, None for nothing, and its
    probability."""
    if not len(tokens):
        return None, float(slot.none is not None)
    scores = _spans(told, first, slot.longest)
    nothing = 0.0 if slot.none is not None else -np.inf
    highest = max(float(scores.max()), nothing)
    shares = np.exp(scores - highest)
    none = float(np.exp(nothing - highest))
    total = shares.sum() + none
    order = np.argsort(-shares, axis=None)[:_LOOKED_AT]
    found: defaultdict[str | None, float] = defaultdict(float, {None: none})
    for at in order.tolist():
        begin, more = divmod(at, shares.shape[1])
        surface = tokens.surface(begin, min(begin + more, len(tokens) - 1))
        if slot.fits(surface):
            found[surface] += float(shares[begin, more])
    best = max(found, key=lambda surface: found[surface])
    return best, found[best] / float(total)


def _spans(told: Array, first: int, longest: int) -> Array:
    """[n, longest]: the score of the span from each token on, of one token and more; minus infinity
    where it would go beyond the text."""
    count, more = len(told), first + 1
    other = np.log(np.maximum(1 - np.exp(told[:, first]) - np.exp(told[:, more]), _LEAST))
    begins = told[:, first] - other
    goes_on = np.concatenate([[0.0], np.cumsum(told[:, more] - other)])
    stops = np.log(np.maximum(1 - np.exp(told[1:, more]), _LEAST))
    stops = np.concatenate([stops, [0.0]])
    last = np.arange(count)[:, np.newaxis] + np.arange(longest)
    inside = np.minimum(last, count - 1)
    scores = begins[:, np.newaxis] + goes_on[inside + 1] - goes_on[1:][:, np.newaxis]
    return np.where(last < count, scores + stops[inside], -np.inf)


def series(tokens: Tokens, told: Array, first: int, field: Series) -> tuple[list[Item], float]:
    """What is listed in the series whose ``first`` tag that is, by the likeliest marks, and their
    probability."""
    own = np.arange(first, first + 2 * field.sorts)
    outside = np.logaddexp.reduce(np.delete(told, own, axis=1), axis=1)
    begins, goes_on = told[:, own[::2]], told[:, own[1::2]]
    marks, score = _best_marks(outside, begins, goes_on)
    items = field.listed([(tokens.surface(begin, end), sort) for begin, end, sort in marks])
    if not items and field.none is None:
        return [], 0.0
    return items, math.exp(min(0.0, score - _all_marks(outside, begins, goes_on)))


def _best_marks(
    outside: Array, begins: Array, goes_on: Array
) -> tuple[list[tuple[int, int, int]], float]:
    """The first token, the last and the sort of each span of the likeliest marks, and the logarithm
    of what these are given (Viterbi). ``outside`` is [n], the others are [n, sorts]."""
    best, ways = 0.0, []
    sorts = range(begins.shape[1])
    inside, since = [-math.inf] * len(sorts), [0] * len(sorts)
    rows = zip(outside.tolist(), begins.tolist(), goes_on.tolist(), strict=True)
    for place, (out, begin, more) in enumerate(rows):
        for sort in sorts:
            inside[sort] += more[sort]
            if best + begin[sort] >= inside[sort]:
                inside[sort], since[sort] = best + begin[sort], place
        best += out
        way = None
        for sort in sorts:
            if inside[sort] > best:
                best, way = inside[sort], (since[sort], place, sort)
        ways.append(way)
    marks, place = [], len(ways) - 1
    while place >= 0:
        way = ways[place]
        if way is not None:
            marks.append(way)
            place = way[0]
        place -= 1
    return marks[::-1], best


def _all_marks(outside: Array, begins: Array, goes_on: Array) -> float:
    """The logarithm of what all marks are given together: only within a span one goes on."""
    total, inside = 0.0, [0.0] * begins.shape[1]
    rows = zip(
        np.exp(outside).tolist(), np.exp(begins).tolist(), np.exp(goes_on).tolist(), strict=True
    )
    for out, begin, more in rows:
        inside = [one + on * before for one, on, before in zip(begin, more, inside, strict=True)]
        here = out + sum(inside)
        total += math.log(here)
        inside = [one / here for one in inside]
    return total
