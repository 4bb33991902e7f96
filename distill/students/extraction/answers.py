"""What of a task's answers stands in its requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from distill.students import forms
from distill.students.base import LEAST_SUPPORT
from distill.students.extraction import listing
from distill.students.extraction.marking import marks
from distill.students.extraction.shape import Extraction, Kind, Series, Slot
from distill.students.extraction.tokens import Tokens
from distill.students.fitting import frequent_labels
from distill.students.forms import Form

_LEAST_COVER = 0.5
"""Share of the answers that must be found in their requests."""
_FEW = 0.95
"""A field of which so many values are one of a few has no need to be copied."""
_LONGEST = 24
"""Tokens of a value that is copied, at most."""

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What can be extracted, and from how many requests."""

    extraction: Extraction
    values: list[tuple[str, ...] | None]
    """[n]: what each answer says in each field; None where it is of another form, or not learnt."""
    cover: float
    """Share of the answers of which all can be had."""


def find(texts: Sequence[str], answers: Sequence[str]) -> Found | None:
    """What of the ``answers`` [n] stands in their ``texts`` [n]; None where that is too little."""
    form = forms.find(answers)
    values = [(answer,) if form is None else form.read(answer) for answer in answers]
    tokens = [Tokens.of(text) for text in texts]
    pieces = ("", "") if form is None else form.pieces
    read = [(one, row) for one, row in zip(values, tokens, strict=True) if one is not None]
    fields = tuple(
        _field([one[field] for one, _ in read], [row for _, row in read], form)
        for field in range(len(pieces) - 1)
    )
    if all(isinstance(field, tuple) for field in fields):
        return None
    had = sum(all(map(_can_be_had, fields, one, [row] * len(fields))) for one, row in read)
    cover = had / max(1, len(answers))
    return Found(Extraction(pieces, fields), values, cover) if cover >= _LEAST_COVER else None


def _field(
    values: Sequence[str], tokens: Sequence[Tokens], form: Form | None
) -> Slot | Series | Labels:
    """The slot or series that such ``values`` are, or the few that they are one of."""
    labels = frequent_labels(values)
    known = set(labels)
    few = sum(value in known for value in values)
    series = listing.find(values, tokens)
    tried = [_copied(Slot(_kind(values, form), None, _LONGEST), values, tokens)]
    if series is not None:
        tried.append(_copied(series, values, tokens))
    best = max(tried, key=lambda one: one.had)
    if few >= max(_FEW * len(values), best.had) or not best.longest:
        return labels
    if isinstance(best.field, Slot):
        return replace(best.field, longest=min(best.longest, _LONGEST))
    return best.field


@dataclass(frozen=True, slots=True)
class _Copied:
    """What of the values of a field can be copied."""

    field: Slot | Series
    had: int
    """How many."""
    longest: int
    """Tokens of the longest span; 0 where there is none."""


def _copied(field: Slot | Series, values: Sequence[str], tokens: Sequence[Tokens]) -> _Copied:
    found = [marks(field, one, row) for one, row in zip(values, tokens, strict=True)]
    absent = Counter(value for value, each in zip(values, found, strict=True) if not each)
    none, times = absent.most_common(1)[0] if absent else ("", 0)
    often = times >= LEAST_SUPPORT
    lengths = [last - first + 1 for each in found for first, last, _ in each or ()]
    had = len(values) - absent.total() + (times if often else 0)
    return _Copied(replace(field, none=none if often else None), had, max(lengths, default=0))


def _kind(values: Sequence[str], form: Form | None) -> Kind:
    if form is None:
        return "plain"
    strings = sum(value.startswith('"') for value in values)
    return "string" if 2 * strings > len(values) else "number"


def _can_be_had(field: Slot | Series | Labels, value: str, tokens: Tokens) -> bool:
    return value in field if isinstance(field, tuple) else marks(field, value, tokens) is not None
