"""What a student's evidence says of it: by slice, its calibration, its speed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distill.card import Regressions, Report, SliceFigures
from distill.evaluation.slices import Mask, Slice
from policies.binomial import clopper_pearson
from policies.calibration import Given, Outcomes

Array = npt.NDArray[np.float64]

_LEVEL = 0.95
_BINS = 10
"""Bins of like confidence, with as many answers each, of the calibration error."""


def report(
    outcomes: Outcomes,
    given: Given,
    threshold: float,
    slices: Sequence[Slice],
    contradicted: Mask,
    alpha: float,
    newest: Given | None = None,
) -> Report:
    """Figures of the answers ``given`` at ``threshold`` to n requests with these ``outcomes``.

    ``contradicted`` [n] are those on which an audit found a student to be wrong. ``newest`` are the
    answers that a student of older ones alone gives to the newest requests.
    """
    everything = Slice("all", "all requests", np.ones(len(outcomes), dtype=bool))
    total = float(outcomes.weights.sum())
    error, brier = _calibration(outcomes)
    return Report(
        threshold,
        (
            *(_figures(each, given, alpha, total) for each in (everything, *slices)),
            *(() if newest is None else (_temporal(newest, alpha, total),)),
        ),
        error,
        brier,
        Regressions(
            int((contradicted & given.answered & ~given.wrong).sum()),
            int((contradicted & ~given.answered).sum()),
            int((contradicted & given.wrong).sum()),
        ),
    )


def _temporal(newest: Given, alpha: float, total: float) -> SliceFigures:
    part = Slice("temporal", "newest, by one of older answers", np.ones(len(newest.weights), bool))
    return _figures(part, newest, alpha, total)


def _figures(part: Slice, given: Given, alpha: float, all_weights: float) -> SliceFigures:
    answered = given.answered & part.rows
    wrong = given.wrong & part.rows
    weights = given.weights[answered]
    total = float(weights.sum())
    agreement = 1 - float(given.weights[wrong].sum()) / total if total else None
    low, high = interval(agreement or 0.0, weights)
    return SliceFigures(
        part.kind,
        part.name,
        int(part.rows.sum()),
        float(given.weights[part.rows].sum() / all_weights),
        len(weights),
        int(wrong.sum()),
        agreement,
        low,
        high,
        "kept" if low >= 1 - alpha else "broken" if high < 1 - alpha else "open",
    )


def interval(share: float, weights: Array) -> tuple[float, float]:
    """The interval of a weighted share at 95%; all that is possible where there are no weights.

    >>> tuple(round(end, 4) for end in interval(0.9, np.ones(10)))
    (0.555, 0.9975)
    """
    if not len(weights):
        return 0.0, 1.0
    count = float(weights.sum() ** 2 / (weights**2).sum())
    return clopper_pearson(share, count, 1 - _LEVEL)


def _calibration(outcomes: Outcomes) -> tuple[float, float]:
    """Calibration error and Brier score of the surest rung."""
    surest = outcomes.confidences.argmax(axis=1)
    rows = np.arange(len(outcomes))
    confidences = outcomes.confidences[rows, surest]
    agreed = outcomes.agreed[rows, surest].astype(float)
    weights = outcomes.weights / outcomes.weights.sum()
    order = np.argsort(confidences, kind="stable")
    error = sum(
        abs(float(weights[part] @ (confidences[part] - agreed[part])))
        for part in np.array_split(order, _BINS)
    )
    return error, float(weights @ (confidences - agreed) ** 2)
