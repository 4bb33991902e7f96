"""How a task's requests are divided, where each slice must keep the promise on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from config.settings import PolicySettings
from distill.card import Verdict
from distill.evaluation.strata import Floors, Strata


@dataclass(frozen=True, slots=True)
class Division:
    """The slices of n examples; as it is, where they do not matter."""

    strata: Strata | None = None
    names: npt.NDArray[np.str_] | None = None
    """[n]: the slice that each example is in."""

    def part(self, rows: npt.NDArray[Any]) -> list[str] | None:
        """The slices of some examples."""
        return None if self.names is None else self.names[rows].tolist()

    def floors(self, verdict: Verdict) -> Floors | None:
        """The thresholds that ``verdict`` gives the slices; None where they do not matter."""
        if self.strata is None or not verdict.floors:
            return None
        return Floors(self.strata, verdict.floors)


def divide(policy: PolicySettings, texts: Sequence[str]) -> Division:
    """The division of examples with these ``texts`` [n] that ``policy`` asks for."""
    if policy.by_slice is None or not texts:
        return Division()
    strata, names = Strata.fit(policy.by_slice, texts)
    return Division(strata, np.array(names))
