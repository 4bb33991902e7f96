"""Confident learning: which answers are likely wrong, as a student's cross-validation tells.

Northcutt, Jiang and Chuang, *Confident Learning: Estimating Uncertainty in Dataset Labels*, JAIR
70 (2021): those that the confident joint counts off its diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def likely_wrong(
    probabilities: npt.NDArray[np.float64],
    answers: Sequence[str],
    labels: Sequence[str],
    among: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int64]:
    """For each of ``answers`` [n] the place of the label that it likely should have been; -1 where
    nothing speaks against it, and for answers that are no label.

    ``probabilities`` [n, labels] are out of sample; rows that are not ``among`` those to be looked
    at [n] are as if they were not there. A label is confidently another's where its
    probability reaches the mean that it has among its own answers.

    >>> likely_wrong(np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.9, 0.1]]), "aabb", "ab")
    array([-1, -1, -1,  0])
    """
    place = {label: i for i, label in enumerate(labels)}
    given = np.array([place.get(answer, -1) for answer in answers])
    if among is not None:
        given = np.where(among, given, -1)
    usual = np.array(
        [
            probabilities[given == i, i].mean() if (given == i).any() else np.inf
            for i in range(len(labels))
        ]
    )
    confident = np.where(probabilities >= usual, probabilities, -1.0)
    counted = confident.argmax(axis=1)
    wrong = (confident.max(axis=1) >= 0) & (counted != given) & (given >= 0)
    return np.where(wrong, counted, -1)
