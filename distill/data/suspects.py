"""Answers of the teacher that are likely wrong, found without knowing what is right.

Nobody should learn them; they stay evidence, since the promise is about agreement with the teacher
and not about truth. What a person has vouched for is never suspected.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from distill.data.confident import likely_wrong
from distill.data.dataset import Dataset
from distill.students.fitting import Sieve
from policies.agreement import agree

Doubt = Literal["inconsistent", "unlike"]
"""``inconsistent``: the teacher has mostly answered the same prompt otherwise (self-consistency,
Wang et al. 2023). ``unlike``: a student that has learnt the other answers is sure of another."""

_LEAST_SAMPLES = 3
_MAJORITY = 2 / 3
"""Share of a prompt's answers, and their number, from which the others are suspected."""

MARGIN = 0.5
"""How much likelier than the given answer the other one must be: below, more right answers than
wrong ones are suspected (``bench.teacher_errors``)."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An answer that is likely wrong."""

    place: int
    """Among the dataset's examples."""
    doubt: Doubt
    suggestion: str
    """What it likely should have been."""
    probability: float
    """Of the suggestion, as far as is known."""


def suspects(
    data: Dataset,
    labels: Sequence[str],
    probabilities: npt.NDArray[np.float64],
    among: npt.NDArray[np.bool_] | None = None,
) -> list[Suspect]:
    """The suspects among the examples [n], the surest first, at most one each.

    ``probabilities`` [n, labels] are what a student gave each label when it was trained without the
    example. Examples that are not ``among`` those to be looked at [n] have no part in it.
    """
    found = {one.place: one for one in _unlike(data, labels, probabilities, among)}
    found |= {one.place: one for one in _inconsistent(data)}
    examples = data.examples
    left = (one for one in found.values() if _may_be_wrong(data, one.place))
    return sorted(left, key=lambda one: (-one.probability, examples[one.place].id))


def sieve(data: Dataset, labels: Sequence[str]) -> Sieve:
    """Leaves the suspects out of training."""

    def doubtful(
        probabilities: npt.NDArray[np.float64], among: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        found = np.zeros(len(data), dtype=bool)
        found[[one.place for one in suspects(data, labels, probabilities, among)]] = True
        return found & among

    return doubtful


def _may_be_wrong(data: Dataset, place: int) -> bool:
    example = data.examples[place]
    return example.flaw is None and not example.vouched


def _inconsistent(data: Dataset) -> Iterator[Suspect]:
    """Answers that most samples of the same prompt contradict: those to requests of the same text,
    and what the teacher said when it was asked again."""
    samples: dict[str, list[int]] = defaultdict(list)
    for place, example in enumerate(data.examples):
        samples[" ".join(example.text.lower().split())].append(place)
    for places in samples.values():
        answers = Counter(data.examples[place].answer for place in places)
        answers.update(said for place in places for said in data.examples[place].repeats)
        # Nearly all prompts come once.
        if answers.total() < _LEAST_SAMPLES:
            continue
        most = answers.most_common(1)[0][0]
        same = {said for said in answers if agree(said, most)}
        share = sum(answers[said] for said in same) / answers.total()
        if share < _MAJORITY:
            continue
        for place in places:
            if data.examples[place].answer not in same:
                yield Suspect(place, "inconsistent", most, share)


def _unlike(
    data: Dataset,
    labels: Sequence[str],
    probabilities: npt.NDArray[np.float64],
    among: npt.NDArray[np.bool_] | None,
) -> Iterator[Suspect]:
    answers = data.answers
    place_of = {label: i for i, label in enumerate(labels)}
    for place, other in enumerate(likely_wrong(probabilities, answers, labels, among)):
        if other < 0:
            continue
        likely = float(probabilities[place, other])
        surer = likely - probabilities[place, place_of[answers[place]]]
        if surer >= MARGIN and not agree(labels[other], answers[place]):
            yield Suspect(place, "unlike", labels[other], likely)
