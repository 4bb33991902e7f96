"""A task's frontier: cost against quality for every threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from policies.estimation import LEVEL
from policies.evaluation import Frontier, Outcome, upper_hull
from router.whatif.replayed import HEADINGS, cells, figures

_ROWS = 12
"""Most thresholds of a table."""


def as_json(frontier: Frontier, task: str, requests: int) -> dict[str, Any]:
    return {
        "task": task,
        "requests": requests,
        "confidence": LEVEL,
        "aiq": frontier.aiq,
        "random_aiq": frontier.random_aiq,
        "operating": _figures(frontier.operating),
        "points": [
            {"threshold": point.threshold, **_figures(point.outcome)} for point in frontier.points
        ],
    }


def table(frontier: Frontier, task: str, requests: int) -> Table:
    shown = Table(
        title=f"{task}: {requests:,} requests",
        caption=f"In brackets: {LEVEL:.0%} intervals for traffic like this. AIQ: mean quality from "
        "the least to the greatest cost, on the upper hull of all thresholds.",
    )
    for heading in ("threshold", *HEADINGS[1:]):
        shown.add_column(heading, justify="right")
    last = len(frontier.points) - 1
    for number in sorted({round(last * row / (_ROWS - 1)) for row in range(_ROWS)}):
        point = frontier.points[number]
        threshold = "teacher alone" if point.threshold is None else f"{point.threshold:.4f}"
        shown.add_row(threshold, *cells(point.outcome))
    shown.add_section()
    shown.add_row("as it was", *cells(frontier.operating), style="bold")
    return shown


def aiq_in_words(frontier: Frontier) -> str:
    return f"AIQ {frontier.aiq:.4f}; of a random policy {frontier.random_aiq:.4f}."


def chart(frontier: Frontier, task: str, path: Path) -> None:
    """A PNG: quality over cost, the operating point marked."""
    # A second of import time that only this needs.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    outcomes = [point.outcome for point in frontier.points]
    costs = [outcome.usd.value for outcome in outcomes]
    qualities = [outcome.quality for outcome in outcomes]
    worst = [1 - _of_all(outcome)[2] for outcome in outcomes]
    best = [1 - _of_all(outcome)[1] for outcome in outcomes]
    axes.fill_between(costs, worst, best, color="tab:blue", alpha=0.15, label=f"{LEVEL:.0%}")
    axes.plot(costs, qualities, ".-", color="tab:blue", label="thresholds")
    hull = upper_hull(list(zip(costs, qualities, strict=True)))
    axes.plot(*zip(*hull, strict=True), color="tab:green", linestyle="--", label="upper hull")
    ends = (0, -1)
    axes.plot(
        [costs[end] for end in ends],
        [qualities[end] for end in ends],
        color="tab:gray",
        linestyle=":",
        label="random",
    )
    operating = frontier.operating
    axes.plot(
        operating.usd.value, operating.quality, "*", color="tab:red", ms=15, label="as it was"
    )
    axes.set_title(f"{task}: AIQ {frontier.aiq:.4f}, random {frontier.random_aiq:.4f}")
    axes.set_xlabel("USD, audits included")
    axes.set_ylabel("share of answers that agree with the teacher's")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def _figures(outcome: Outcome) -> dict[str, Any]:
    return {"quality": outcome.quality, **figures(outcome)}


def _of_all(outcome: Outcome) -> tuple[float, float, float]:
    if outcome.disagreement is None:
        return 0.0, 0.0, 0.0
    estimate = outcome.disagreement.of_all_answers
    return estimate.value, estimate.low, estimate.high
