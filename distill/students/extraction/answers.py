"""What of a task's answers stands in its requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from distill.students import forms
from distill.students.extraction.shape import Extraction, Kind, Slot
from distill.students.extraction.tokens import Tokens
from distill.students.fitting import LEAST_SUPPORT, frequent_labels
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
    """[n]: what each answer says in each field; None where it is of another form."""
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
    if not any(isinstance(field, Slot) for field in fields):
        return None
    had = sum(all(map(_can_be_had, fields, one, [row] * len(fields))) for one, row in read)
    cover = had / max(1, len(answers))
    return Found(Extraction(pieces, fields), values, cover) if cover >= _LEAST_COVER else None


def _field(values: Sequence[str], tokens: Sequence[Tokens], form: Form | None) -> Slot | Labels:
    """The slot that such ``values`` are, or the few that they are one of."""
    labels = frequent_labels(values)
    known = set(labels)
    few = sum(value in known for value in values)
    slot = Slot(_kind(values, form), None, _LONGEST)
    spans = [row.spans(slot.surface(one)) for one, row in zip(values, tokens, strict=True)]
    lengths = [last - first + 1 for each in spans for first, last in each]
    absent = Counter(value for value, each in zip(values, spans, strict=True) if not each)
    none, times = absent.most_common(1)[0] if absent else ("", 0)
    copied = len(values) - absent.total() + (times if times >= LEAST_SUPPORT else 0)
    if few >= max(_FEW * len(values), copied) or not lengths:
        return labels
    longest = min(max(lengths), _LONGEST)
    return Slot(slot.kind, none if times >= LEAST_SUPPORT else None, longest)


def _kind(values: Sequence[str], form: Form | None) -> Kind:
    if form is None:
        return "plain"
    strings = sum(value.startswith('"') for value in values)
    return "string" if 2 * strings > len(values) else "number"


def _can_be_had(field: Slot | Labels, value: str, tokens: Tokens) -> bool:
    if not isinstance(field, Slot):
        return value in field
    return value == field.none or bool(tokens.spans(field.surface(value)))
