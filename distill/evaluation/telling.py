"""The names of slices that are told by a number: how long a text is, and how rare.

It needs numpy alone: an exported student whose slices have thresholds carries this file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

REST = "(others)"
"""Of all slices that have too few requests, together."""

RARITIES = ("usual", "unusual", "long tail")
RARITY_EDGES = (math.log(2), math.log(10))
"""The surprise, as in ``distill.students.novelty``, at the stranger half of a task's requests and
at its strangest tenth."""


def length_names(edges: Sequence[int]) -> list[str]:
    """The names of the parts between ``edges``, in characters, shortest first."""
    between = [f"{low + 1} to {high} characters" for low, high in pairwise(edges)]
    return [f"up to {edges[0]} characters", *between, f"over {edges[-1]} characters"]


def lengths(texts: Sequence[str], edges: Sequence[int]) -> list[str]:
    """Which of the parts between ``edges`` each of ``texts`` [n] is in."""
    names = length_names(edges)
    places = np.searchsorted(edges, [len(text) for text in texts], side="left")
    return [names[place] for place in places.tolist()]


def rarities(surprise: npt.NDArray[np.float64]) -> list[str]:
    """How rare [n] texts are that are as surprising [n] as that."""
    return [RARITIES[i] for i in np.searchsorted(RARITY_EDGES, surprise, side="right").tolist()]
