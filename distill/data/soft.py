"""What a teacher thought of each label when it answered with one, by its log-probabilities.

A student that hears how near the second-best answer came learns more from each (soft targets,
Hinton, Vinyals and Dean 2015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distill.data.dataset import Dataset
from distill.students.text.lesson import Told, lesson

Shares = npt.NDArray[np.float64]
"""[n, labels + 1]: what each label was given, the last for answers that are none of them. Rows add
up to 1."""


def shares(data: Dataset, labels: Sequence[str]) -> Shares | None:
    """What the teacher gave each of ``labels`` in each example; an answer that came without
    log-probabilities has all. None where none came with any."""
    place = {answer: i for i, answer in enumerate(labels)}
    found = np.zeros((len(data), len(labels) + 1))
    heard = False
    for row, example in zip(found, data.examples, strict=True):
        told = lesson(example.text, example.answer, None, example.choices).told
        row[:] = given(told, labels)
        if row.any():
            heard = True
        else:
            row[place.get(example.answer, len(labels))] = 1.0
    return found / found.sum(axis=1, keepdims=True) if heard else None


def given(told: Told, labels: Sequence[str]) -> Shares:
    """The probability of each label [labels + 1], as far as the tokens ``told`` of one answer tell.

    At every token the teacher might have gone on otherwise: where only one label begins like that,
    it would have been that one, and where none does, none. What would have been one of several is
    left out, and so is what was not among the likeliest tokens.
    """
    found = np.zeros(len(labels) + 1)
    said, reached = "", 1.0
    for token, likeliest in told:
        for other, logprob in likeliest.items():
            if other != token:
                _add(found, said + other, reached * math.exp(logprob), labels)
        said += token
        reached *= math.exp(likeliest[token])
    if told:
        found[labels.index(said) if said in labels else -1] += reached
    return found


def _add(found: Shares, begun: str, probability: float, labels: Sequence[str]) -> None:
    meant = [i for i, label in enumerate(labels) if label.startswith(begun)]
    if begun in labels:
        # Most likely all of it, though another label may begin like that.
        meant = [labels.index(begun)]
    if len(meant) <= 1:
        found[meant[0] if meant else -1] += probability
