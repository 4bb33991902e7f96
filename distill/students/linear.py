"""What a linear classifier of scikit-learn has learnt, in one form for any number of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def rows(model: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Weights [classes, features] and intercepts [classes] of a fitted ``model``: of two classes it
    has but the difference, of which each gets half."""
    weights, intercepts = model.coef_, model.intercept_
    if len(weights) == 1:
        weights = np.vstack([-weights / 2, weights / 2])
        intercepts = np.concatenate([-intercepts / 2, intercepts / 2])
    return weights, intercepts
