"""How often a teacher agrees with itself: no student can be expected to agree more often."""

from __future__ import annotations

import numpy as np

from distill.card import Consistency
from distill.data.dataset import Dataset
from distill.evaluation.report import interval
from policies.agreement import agree


def consistency(data: Dataset) -> Consistency | None:
    """What is known of the teacher of ``data``; None where it was never asked again."""
    asked = [each for each in data.examples if each.repeats and each.weight > 0]
    if not asked:
        return None
    agreed = np.array([agree(each.answer, each.repeats[0]) for each in asked])
    weights = np.array([each.weight for each in asked])
    share = float(weights[agreed].sum() / weights.sum())
    low, high = interval(share, weights)
    return Consistency(len(asked), int(agreed.sum()), share, low, high)
