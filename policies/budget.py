"""The best quality for a sum of money."""

from __future__ import annotations

from math import inf
from typing import ClassVar

from policies.pacing import Prices
from policies.policy import Choice, Options
from telemetry.exchange import PICO


class Budget:
    """The teacher answers where the student is likeliest to be wrong for what the teacher costs,
    as far as the money goes. Somebody has to say how far that is (``share``)."""

    name: ClassVar[str] = "budget"

    def __init__(self) -> None:
        self.share = 1.0
        """Of the demand to come, the share that the rest of the budget can pay."""
        self._prices = Prices()

    def choose(self, options: Options) -> Choice:
        chance = self._prices.chance(_worth(options), self.share)
        return Choice(1.0 - chance, "budget")

    def saw(self, cost: int, options: Options | None) -> None:
        """A request came, for which the teacher is expected to cost so many picodollars; without
        ``options`` where only the teacher can answer it."""
        self._prices.saw(inf if options is None else _worth(options), cost)


def _worth(options: Options) -> float:
    """Chances of a wrong answer that a USD saves."""
    risk = 1.0 - options.student.agreement
    if risk <= 0.0:
        return 0.0
    return risk * PICO / options.teacher.cost if options.teacher.cost else inf
