"""Where in a request that stands which an answer says: what a tagger learns from."""

from __future__ import annotations

from collections.abc import Sequence

from distill.students.extraction.shape import Item, Series, Slot
from distill.students.extraction.tokens import Tokens

Mark = tuple[int, int, int]
"""The first token of a span, its last, and its sort."""


def marks(field: Slot | Series, value: str, tokens: Tokens) -> list[Mark] | None:
    """The spans that a ``value`` is copied from; None where it cannot be had from ``tokens``.

    Of what stands in several places all are marked, but in a series that says how often it has it.
    """
    if value == field.none:
        return []
    if isinstance(field, Slot):
        return [(*span, 0) for span in tokens.spans(field.surface(value))] or None
    items = field.read(value)
    if not items:
        return None
    found = _one_by_one(items, tokens) if field.again else _everywhere(items, tokens)
    read = field.listed([(tokens.surface(first, last), sort) for first, last, sort in found])
    return found if read == items else None


def _one_by_one(items: Sequence[Item], tokens: Tokens) -> list[Mark]:
    """Each item at the first place after the one before it."""
    found: list[Mark] = []
    after = 0
    for surface, sort in items:
        later = [span for span in tokens.spans(surface) if span[0] >= after]
        if not later:
            break
        found.append((*later[0], sort))
        after = later[0][1] + 1
    return found


def _everywhere(items: Sequence[Item], tokens: Tokens) -> list[Mark]:
    """All places of all items; of those that overlap the first, and the longest."""
    places = [(*span, sort) for surface, sort in items for span in tokens.spans(surface)]
    found: list[Mark] = []
    for first, last, sort in sorted(places, key=lambda mark: (mark[0], -mark[1])):
        if not found or first > found[-1][1]:
            found.append((first, last, sort))
    return found
