"""The temporal set: the newest answers, put to a student that has learnt from older ones alone.

Cross-validation mixes old and new, so a student that is tested by it knows of the days that it is
tested on. This is what serving is like: tomorrow's requests by what was learnt until today.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill.answers import learnable
from distill.data.dataset import Dataset, Example
from distill.gate import Newest, Placed, numbered
from distill.students import label
from distill.students.base import Rung
from distill.students.extraction import answers, training
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
    examples = sorted(data.examples, key=lambda example: example.created)
    border = examples[int((1 - _PART) * len(examples))].created
    new = [each for each in examples if each.created >= border and each.weight > 0]
    known = {each.group for each in examples if each.created >= border}
    old = [each for each in examples if each.created < border and each.group not in known]
    old = old[-_MOST_OLD:]
    if len(new) < _LEAST_NEW or len(old) < _LEAST_OLD:
        return None
    asked = []
    for rung in rungs:
        made = _of_older(rung, old)
        if made is None:
            return None
        asked.append(made.predict([each.text for each in new]))
    outcomes = Outcomes(
        np.array([[each.confidence for each in said] for said in asked]).T,
        np.array(
            [
                [
                    agree(each.answer, example.answer)
                    for each, example in zip(said, new, strict=True)
                ]
                for said in asked
            ]
        ).T,
        np.array([each.weight for each in new]),
    ).smoothed()
    numbers = numbered([[each.answer for each in said] for said in asked], labels)
    if strata is None:
        return Newest(outcomes, numbers)
    evidence = (each for each in data.examples if each.weight > 0)
    placed = {each.id: name for each, name in zip(evidence, strata, strict=True)}
    return Newest(outcomes, numbers, [placed[each.id] for each in new])


def _of_older(rung: LabelRung | ExtractionRung, old: Sequence[Example]) -> Rung | None:
    """A rung like ``rung`` that has learnt from ``old``; None where there is nothing to learn."""
    texts, said = [each.text for each in old], [each.answer for each in old]
    groups = [each.group for each in old]
    if isinstance(rung, ExtractionRung):
        found = answers.find(texts, said)
        return None if found is None else training.train(texts, said, found, groups).rung
    learnt = learnable([each.answer for each in old if each.flaw is None])
    if not learnt:
        return None
    ngrams = rung.tfidf is not None
    return label.train(texts, said, learnt, ngrams=ngrams, encoder=rung.encoder, groups=groups).rung
