"""The temporal set: the newest answers, put to a student that has learnt from older ones alone.

Cross-validation mixes old and new, so a student that is tested by it knows of the days that it is
tested on. This is what serving is like: tomorrow's requests by what was learnt until today.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill.answers import learnable, standing
from distill.data.dataset import Dataset, Example
from distill.gate import Newest, Placed, numbered
from distill.students import label
from distill.students.base import Rung
from distill.students.extraction import training
from distill.students.extraction.rung import ExtractionRung
from distill.students.label import LabelRung
from policies.agreement import agree
from policies.calibration import Outcomes

_PART = 0.15
"""Part of the answers that are the newest."""
_LEAST_NEW = 30
_LEAST_OLD = 100
_MOST_OLD = 5000
"""The newest of the older answers are enough to learn from."""


def newest(
    data: Dataset,
    rungs: Sequence[LabelRung | ExtractionRung],
    labels: Sequence[str],
    strata: Placed = None,
) -> Newest | None:
    """What rungs like these, of answers older than the newest 15%, make of those.

    Of the older ones, near-duplicates of the newest are left out, as in every test. None where
    either part is too small to tell anything. ``labels`` number the answers that are said, and
    ``strata`` are those of the examples that are evidence.
    """
    old, new = _parted(data.examples)
    if len(new) < _LEAST_NEW or len(old) < _LEAST_OLD:
        return None
    made = _of_older(rungs, old)
    if not made:
        return None
    texts = [each.text for each in new]
    asked = [rung.predict(texts) for rung in made]
    agreed = [
        [agree(each.answer, example.said) for each, example in zip(said, new, strict=True)]
        for said in asked
    ]
    outcomes = Outcomes(
        np.array([[each.confidence for each in said] for said in asked]).T,
        np.array(agreed).T,
        np.array([each.weight for each in new]),
    ).smoothed()
    numbers = numbered([[each.answer for each in said] for said in asked], labels)
    if strata is None:
        return Newest(outcomes, numbers)
    placed = {each.id: name for each, name in zip(data.tested, strata, strict=True)}
    return Newest(outcomes, numbers, [placed[each.id] for each in new])


def _parted(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """The older ones, to learn from, and the newest, to be tested on."""
    ordered = sorted(examples, key=lambda example: example.created)
    border = ordered[int((1 - _PART) * len(ordered))].created
    newest = [each for each in ordered if each.created >= border]
    known = {each.group for each in newest}
    old = [each for each in ordered if each.created < border and each.group not in known]
    return old[-_MOST_OLD:], [each for each in newest if each.weight > 0]


def _of_older(
    rungs: Sequence[LabelRung | ExtractionRung], old: Sequence[Example]
) -> Sequence[Rung]:
    """Rungs like ``rungs`` that have learnt from ``old``; none where there is nothing to learn."""
    texts, said = [each.text for each in old], [each.answer for each in old]
    groups = [each.group for each in old]
    # One that copies is tested alone.
    if any(isinstance(rung, ExtractionRung) for rung in rungs):
        found = standing(old)
        return [] if found is None else [training.train(texts, said, found, groups).rung]
    learnt = learnable([each.answer for each in old if each.flaw is None])
    if not learnt:
        return []
    labels = (rung for rung in rungs if isinstance(rung, LabelRung))
    return [
        label.train(
            texts,
            said,
            learnt,
            ngrams=rung.tfidf is not None,
            encoder=rung.encoder,
            groups=groups,
        ).rung
        for rung in labels
    ]
