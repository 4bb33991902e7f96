"""A task's frontier: cost against quality for every threshold, and for the other policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from policies.estimation import LEVEL
from policies.evaluation import Frontier, Outcome, upper_hull
from router.terminal.words import printable
from router.whatif.replayed import figures, fill

_ROWS = 12
"""Most thresholds of a table."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A frontier to be shown."""

    task: str
    requests: int
    frontier: Frontier
    policies: Mapping[str, Outcome]
    """What policies come to that have no threshold of their own to vary, by name."""

    def as_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "requests": self.requests,
            "confidence": LEVEL,
            "aiq": self.frontier.aiq,
            "random_aiq": self.frontier.random_aiq,
            "operating": _figures(self.frontier.operating),
            "policies": {name: _figures(outcome) for name, outcome in self.policies.items()},
            "points": [
                {"threshold": point.threshold, **_figures(point.outcome)}
                for point in self.frontier.points
            ],
        }

    def table(self, width: int) -> Table:
        """What there is room for in ``width`` columns of the terminal."""
        shown = Table(
            title=f"{escape(printable(self.task))}: {self.requests:,} requests",
            caption=f"In brackets: {LEVEL:.0%} intervals for traffic like this. AIQ: mean quality "
            "from the least to the greatest cost, on the upper hull of all thresholds.",
        )
        shown.add_column("threshold", justify="right")
        last = len(self.frontier.points) - 1
        numbers = sorted({round(last * row / (_ROWS - 1)) for row in range(_ROWS)})
        points = [self.frontier.points[number] for number in numbers]
        outcomes = [point.outcome for point in points]
        rows = fill(shown, [*outcomes, *self.policies.values(), self.frontier.operating], width)
        for point, row in zip(points, rows, strict=False):
            name = "teacher alone" if point.threshold is None else f"{point.threshold:.4f}"
            shown.add_row(name, *row)
        shown.add_section()
        for name, row in zip(self.policies, rows[len(points) :], strict=False):
            shown.add_row(name, *row)
        shown.add_row("as it was", *rows[-1], style="bold")
        return shown

    def aiq_in_words(self) -> str:
        return f"AIQ {self.frontier.aiq:.4f}; of a random policy {self.frontier.random_aiq:.4f}."

    def chart(self, path: Path) -> None:
        """A PNG: quality over cost, what really happened marked."""
        # A second of import time that only this needs.
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 6), layout="constrained")
        axes = figure.subplots()
        outcomes = [point.outcome for point in self.frontier.points]
        costs, qualities = zip(*map(_corner, outcomes), strict=True)
        worst, best = zip(*map(_quality_interval, outcomes), strict=True)
        axes.fill_between(costs, worst, best, color="tab:blue", alpha=0.15, label=f"{LEVEL:.0%}")
        axes.plot(costs, qualities, ".-", color="tab:blue", label="thresholds")
        hull = upper_hull(list(zip(costs, qualities, strict=True)))
        axes.plot(*zip(*hull, strict=True), color="tab:green", linestyle="--", label="upper hull")
        ends = zip(_corner(outcomes[0]), _corner(outcomes[-1]), strict=True)
        axes.plot(*ends, color="tab:gray", linestyle=":", label="random")
        for (name, outcome), marker in zip(self.policies.items(), "sD^v", strict=False):
            axes.plot(*_corner(outcome), marker, color="tab:orange", label=name)
        operating = _corner(self.frontier.operating)
        axes.plot(*operating, "*", color="tab:red", markersize=15, label="as it was")
        axes.set_title(f"{self.task}: {self.aiq_in_words()}", parse_math=False)
        axes.set_xlabel("USD, audits included")
        axes.set_ylabel("share of answers that agree with the teacher's")
        axes.legend(loc="lower right")
        figure.savefig(path, dpi=120, format="png")


def _figures(outcome: Outcome) -> dict[str, Any]:
    return {"quality": outcome.quality, **figures(outcome)}


def _corner(outcome: Outcome) -> tuple[float, float]:
    return outcome.usd.value, outcome.quality


def _quality_interval(outcome: Outcome) -> tuple[float, float]:
    if outcome.disagreement is None:
        return 1.0, 1.0
    wrong = outcome.disagreement.of_all_answers
    return 1.0 - wrong.high, 1.0 - wrong.low
