"""What a run came to, task by task: numbers, the table of them, and the chart over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from rich.table import Table

from router.terminal.room import LEAST_NAME, fitting
from router.terminal.words import share
from telemetry.exchange import PICO, Route

ROUTES: tuple[Route, Route] = ("teacher", "student")

Latency = dict[str, float | None]
"""Milliseconds by route; None for a route that gave no answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answered request. Money is in picodollars."""

    task: str
    route: Route
    agreed: bool | None
    """Whether the student's answer is the teacher's; None on the teacher route and where it is not
    known."""
    cost: int
    """Of the answer and of its audit, if there was one."""
    teacher_cost: int
    """What the teacher charges for it."""
    latency_s: float | None = None
    at_s: float = 0.0
    """Seconds from the start of the run."""


@dataclass(frozen=True, slots=True)
class Row:
    """One task's figures, or all tasks'."""

    task: str
    requests: int
    student_share: float
    student_answers: int
    student_agreement: float | None
    """None where nothing is known of any student answer."""
    cost_usd: float
    teacher_only_cost_usd: float
    p50_ms: Latency
    p95_ms: Latency

    @property
    def saved(self) -> float:
        """Share of the all-teacher cost that was not spent."""
        return 1 - self.cost_usd / self.teacher_only_cost_usd if self.teacher_only_cost_usd else 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures by task, in the order that the tasks were asked for, and over all."""

    tasks: list[Row]
    totals: Row


def summarise(outcomes: Sequence[Outcome], tasks: Sequence[str]) -> Summary:
    by_task: dict[str, list[Outcome]] = {task: [] for task in tasks}
    for outcome in outcomes:
        by_task[outcome.task].append(outcome)
    return Summary([_row(task, of) for task, of in by_task.items()], _row("all", outcomes))


def _row(task: str, outcomes: Sequence[Outcome]) -> Row:
    student = [outcome for outcome in outcomes if outcome.route == "student"]
    known = [outcome.agreed for outcome in student if outcome.agreed is not None]
    return Row(
        task=task,
        requests=len(outcomes),
        student_share=len(student) / len(outcomes) if outcomes else 0.0,
        student_answers=len(student),
        student_agreement=sum(known) / len(known) if known else None,
        cost_usd=sum(outcome.cost for outcome in outcomes) / PICO,
        teacher_only_cost_usd=sum(outcome.teacher_cost for outcome in outcomes) / PICO,
        p50_ms=_latency(outcomes, 50),
        p95_ms=_latency(outcomes, 95),
    )


def _latency(outcomes: Sequence[Outcome], percentile: int) -> Latency:
    latency: Latency = {}
    for route in ROUTES:
        times = [o.latency_s for o in outcomes if o.route == route and o.latency_s is not None]
        latency[route] = round(float(np.percentile(times, percentile)) * 1000, 1) if times else None
    return latency


_HEADINGS = (
    "requests",
    "student",
    "agreement",
    "cost $",
    "all-teacher $",
    "saved",
    "teacher\np50/p95 ms",
    "student\np50/p95 ms",
)
_PLAIN_HEADINGS = ("student*", "agreement*", "cost* $")
_LEFT_OUT_FIRST = (
    *("teacher\np50/p95 ms", "student\np50/p95 ms", "cost* $", "all-teacher $", "agreement*"),
    *("cost $", "student*"),
)
"""Where a terminal has no room for all."""
_FOOTNOTE = (
    "*: plain baseline on the same stream: sentence embedding and logistic regression, "
    "put to the same test"
)


def table(
    product: Summary,
    baseline: Summary | None,
    title: str,
    training_lag_s: float | None,
    width: int,
) -> Table:
    """The product's figures by task, those of the plain baseline beside them if it has any: as many
    as have room in ``width`` columns.

    ``training_lag_s`` is the product's mean training lag, which the baseline had too; None where no
    training run was made.
    """
    shown = Table(title=title, title_style="bold")
    shown.add_column("task", overflow="fold", min_width=LEAST_NAME)
    rows = [[row.task, *_cells(row)] for row in (*product.tasks, product.totals)]
    headings: Sequence[str] = _HEADINGS
    if baseline is not None:
        shown.caption = _footnote(training_lag_s)
        headings = _HEADINGS + _PLAIN_HEADINGS
        for cells, plain in zip(rows, (*baseline.tasks, baseline.totals), strict=True):
            cells += _plain_cells(plain)
    columns = [list(column) for column in zip(headings, *(row[1:] for row in rows), strict=True)]
    places = fitting(columns, width, _LEFT_OUT_FIRST)
    for at in places:
        shown.add_column(headings[at], justify="right", no_wrap=True)
    *of_tasks, of_all = ([row[0], *(row[1 + at] for at in places)] for row in rows)
    for cells in of_tasks:
        shown.add_row(*cells)
    shown.add_section()
    shown.add_row(*of_all, style="bold")
    return shown


def _footnote(training_lag_s: float | None) -> str:
    if training_lag_s is None:
        return _FOOTNOTE
    return f"{_FOOTNOTE}, with the product's mean training lag of {training_lag_s:.1f} s"


def _cells(row: Row) -> list[str]:
    return [
        f"{row.requests:,}",
        f"{row.student_share:.1%}",
        share(row.student_agreement),
        f"{row.cost_usd:.4f}",
        f"{row.teacher_only_cost_usd:.4f}",
        f"{row.saved:.1%}",
        *(f"{_ms(row.p50_ms[route])}/{_ms(row.p95_ms[route])}" for route in ROUTES),
    ]


def _plain_cells(row: Row) -> list[str]:
    return [f"{row.student_share:.1%}", share(row.student_agreement), f"{row.cost_usd:.4f}"]


def _ms(milliseconds: float | None) -> str:
    return "–" if milliseconds is None else f"{milliseconds:,.0f}"


def chart(outcomes: Sequence[Outcome], alpha: float, title: str, path: Path) -> None:
    """A PNG: cumulative cost against all-teacher above, agreement so far below, over time."""
    # A second of import time that only this needs.
    from matplotlib.figure import Figure

    ordered = sorted(outcomes, key=lambda outcome: outcome.at_s)
    seconds = [outcome.at_s for outcome in ordered]
    figure = Figure(figsize=(10, 7), layout="constrained")
    costs, agreements = figure.subplots(2, sharex=True)
    figure.suptitle(title)
    all_teacher = [cost / PICO for cost in accumulate(o.teacher_cost for o in ordered)]
    costs.plot(seconds, all_teacher, color="tab:gray", label="all to the teacher")
    spent = [cost / PICO for cost in accumulate(o.cost for o in ordered)]
    costs.plot(seconds, spent, color="tab:blue", label="Protege, audits included")
    costs.set_ylabel("cumulative cost (USD)")
    costs.legend()
    known = [o for o in ordered if o.route == "student" and o.agreed is not None]
    right = accumulate(bool(o.agreed) for o in known)
    so_far = [count / number for number, count in enumerate(right, start=1)]
    agreements.plot(
        [o.at_s for o in known], so_far, color="tab:green", label="student's answers, so far"
    )
    agreements.axhline(
        1 - alpha, color="tab:red", linestyle="--", label=f"promise: {1 - alpha:.0%}"
    )
    agreements.set_ylim(min([1 - 2 * alpha, *so_far]) - 0.01, 1.005)
    agreements.set_ylabel("agreement with the teacher")
    agreements.set_xlabel("time (s)")
    agreements.legend(loc="lower right")
    figure.savefig(path, dpi=120)
