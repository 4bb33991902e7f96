"""When another test, a dearer rung or a dearer student is not worth its cost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distill import gate
from distill.gate import Parts
from distill.students.base import Rung
from distill.students.label import Trained
from policies.calibration import Outcomes

NEW_EVIDENCE = 1.2
"""Factor by which teacher answers must have grown before a task is tested again."""

ENOUGH = 0.97
"""Share of requests from which a dearer rung could hardly add any."""

MOST = 0.8
"""Share of requests for which it is not worth waiting for a dearer rung."""

_HOPELESS = 4.0
"""Where the cheap rung errs this many times ``alpha`` on the third of requests that it is surest
of, a dearer one is not tried."""


def is_hopeless(cheap: Trained[Rung], alpha: float) -> bool:
    """Whether dearer rungs need not be tried, by the ``cheap`` one of the task."""
    return _wrong(cheap.confidences, cheap.agreed) > _HOPELESS * alpha


def hope(outcomes: Outcomes) -> float:
    """How often what the surest rung says agrees, of the third that it is surest of."""
    surest = outcomes.confidences.argmax(axis=1)
    return 1 - _wrong(outcomes.surest, outcomes.agreed[np.arange(len(outcomes)), surest])


def can_pass(
    weights: npt.NDArray[np.float64],
    to_beat: float,
    alpha: float,
    delta: float,
    strata: gate.Placed,
) -> bool:
    """Whether a student without a mistake would be promoted by a test on answers of these weights
    [n], in these ``strata`` [n], against a champion that saves ``to_beat``."""
    perfect = _without_mistake(weights)
    return gate.judge(perfect, to_beat, alpha, delta, Parts.plain(perfect, strata)).promoted


def _without_mistake(weights: npt.NDArray[np.float64]) -> Outcomes:
    """Of a student that makes no mistake and knows it."""
    count = len(weights)
    # Of equal confidences one threshold would take all.
    confidences = np.linspace(1.0, 0.999999, count)[:, np.newaxis]
    return Outcomes(confidences, np.ones((count, 1), dtype=bool), weights)


def _wrong(confidences: npt.NDArray[np.float64], agreed: npt.NDArray[np.bool_]) -> float:
    third = np.argsort(-confidences)[: max(1, len(confidences) // 3)]
    return float(1 - agreed[third].mean())
