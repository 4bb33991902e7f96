"""What of a task's answers a label student can learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distill.data.dataset import Dataset, Example
from distill.students import forms
from distill.students.extraction import answers as extraction
from distill.students.extraction.answers import Found
from distill.students.fitting import field_labels, frequent_labels
from distill.students.forms import Form

_LEAST_COVER = 0.2
"""Share of the answers that frequent labels must make up for the set to count as closed."""

_WHOLE_COVER = 0.95
"""Where whole answers make up so many, hardly any more can be had by taking them apart."""


def learnable(answers: Sequence[str]) -> tuple[str, ...] | Form:
    """The answers that can be learnt, or the form of most of them; nothing where they are open.

    A form is better where it has more of the answers, or less to tell apart: a value is seen more
    often than each whole that it is in.
    """
    labels = closed_set(answers)
    form = forms.find(answers)
    if form is None:
        return labels
    whole, apart = _cover(labels, answers), _form_cover(form, answers)
    if apart < max(whole, _LEAST_COVER):
        return labels
    simpler = sum(map(len, field_labels(form, answers))) < len(labels)
    return form if simpler or (whole < _WHOLE_COVER and apart > whole) else labels


def named(learnt: tuple[str, ...] | Form, answers: Sequence[str]) -> tuple[str, ...]:
    """What is ``learnt`` of ``answers``, as a card lists it."""
    if not isinstance(learnt, Form):
        return learnt
    return tuple(
        f"{learnt.name(field)}: {value}"
        for field, values in enumerate(field_labels(learnt, answers))
        for value in values
    )


def copied(data: Dataset, learnt: tuple[str, ...] | Form) -> Found | None:
    """What can be copied from the requests of ``data``, where that is more of its answers than what
    is ``learnt`` of those that are to be."""
    taught = data.taught
    few = _form_cover(learnt, taught) if isinstance(learnt, Form) else _cover(learnt, taught)
    if few >= _WHOLE_COVER:
        return None
    found = standing(data.examples)
    return found if found is not None and found.cover > few else None


def standing(examples: Sequence[Example]) -> Found | None:
    """What of the answers of ``examples`` [n] stands in their requests. Flawed ones say nothing."""
    sound = [each for each in examples if each.flaw is None]
    found = extraction.find([each.text for each in sound], [each.answer for each in sound])
    if found is None:
        return None
    values = iter(found.values)
    return replace(found, values=[None if each.flaw else next(values) for each in examples])


def closed_set(answers: Sequence[str]) -> tuple[str, ...]:
    """The answers that can be learnt; none where the set that ``answers`` come from is open."""
    labels = frequent_labels(answers)
    return labels if _cover(labels, answers) >= _LEAST_COVER else ()


def _cover(labels: Sequence[str], answers: Sequence[str]) -> float:
    known = set(labels)
    return sum(answer in known for answer in answers) / max(1, len(answers))


def _form_cover(form: Form, answers: Sequence[str]) -> float:
    """Share of the answers whose every field can be learnt."""
    known = [set(values) for values in field_labels(form, answers)]
    read = [form.read(answer) for answer in answers]
    learnt = sum(
        one is not None and all(value in each for value, each in zip(one, known, strict=True))
        for one in read
    )
    return learnt / max(1, len(answers))
