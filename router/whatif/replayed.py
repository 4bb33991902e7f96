"""A replayed policy beside what really happened, the teacher alone, and a control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from policies.estimation import LEVEL, Estimate
from policies.evaluation import Outcome, happened, random_control, replay
from policies.history import Floats, History
from router.terminal.room import fitting
from router.terminal.words import moment

_HEADINGS = ("students answer", "USD", "mean s", "95% within s", "disagree", "of all")

_LEFT_OUT_FIRST = ("95% within s", "mean s", "of all")
"""Where a terminal has no room for all."""

LEFT_OUT = {
    "forced": "whose model the caller named",
    "failed": "that got no whole answer",
    "private": "whose texts are not in the store",
    "fallback": "in which the student stood in for the teacher",
    "unpaid": "whose audit there was no money for",
}


@dataclass(frozen=True, slots=True)
class Replayed:
    """One policy on the requests of a period."""

    policy: str
    task: str | None
    since: float
    until: float
    """Unix times."""
    requests: int
    left_out: dict[str, int]
    happened: Outcome
    replayed: Outcome
    random_share: float
    """Of what students could answer, what the control has them answer."""
    control: Outcome
    """A random policy that costs the same."""
    teacher: Outcome
    """The teacher alone."""

    @classmethod
    def of(
        cls,
        history: History,
        policy: str,
        chance: Floats,
        audit_rate: float,
        task: str | None,
        period: tuple[float, float],
    ) -> Replayed:
        outcome = replay(history, chance, audit_rate)
        control = random_control(history, outcome.usd.value, audit_rate)
        return cls(
            policy,
            task,
            *period,
            len(history),
            dict(history.left_out),
            happened(history),
            outcome,
            float(control.max()),
            replay(history, control, audit_rate),
            replay(history, np.zeros(len(history)), audit_rate),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "task": self.task,
            "since": self.since,
            "until": self.until,
            "requests": self.requests,
            "left_out": self.left_out,
            "confidence": LEVEL,
            "happened": figures(self.happened),
            "replayed": figures(self.replayed),
            "control": {"random_share": self.random_share, **figures(self.control)},
            "teacher": figures(self.teacher),
        }

    def table(self, width: int) -> Table:
        """What there is room for in ``width`` columns of the terminal."""
        period = f"{moment(self.since)} to {moment(self.until)}"
        shown = Table(
            title=f"{self.requests:,} requests from {period} UTC",
            caption=f"In brackets: {LEVEL:.0%} intervals for traffic like this. Disagree: of the "
            "students' answers, not the teacher's. USD: audits included.",
        )
        shown.add_column("policy")
        outcomes = (self.happened, self.replayed, self.control, self.teacher)
        happened, replayed, control, teacher = fill(shown, outcomes, width)
        shown.add_row("as it was", *happened)
        shown.add_row(self.policy, *replayed, style="bold")
        shown.add_row(f"random {self.random_share:.1%}, same cost", *control)
        shown.add_row("teacher alone", *teacher)
        return shown


def left_out_in_words(left_out: dict[str, int]) -> str:
    """One line, empty where nothing was left out."""
    if not left_out:
        return ""
    parts = (f"{count:,} {LEFT_OUT[reason]}" for reason, count in left_out.items())
    return f"Left out of the requests: {', '.join(parts)}."


def figures(outcome: Outcome) -> dict[str, Any]:
    """An outcome for JSON."""
    wrong = outcome.disagreement
    return {
        "student_share": interval(outcome.student_share),
        "usd": interval(outcome.usd),
        "latency_s": interval(outcome.latency_s),
        "p95_s": interval(outcome.p95_s),
        "disagreement": None if wrong is None else interval(wrong.of_student_answers),
        "disagreement_of_all": None if wrong is None else interval(wrong.of_all_answers),
        "estimators": None
        if wrong is None
        else {"dr": wrong.of_student_answers.value, "ips": wrong.ips, "snips": wrong.snips},
    }


def interval(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def fill(shown: Table, outcomes: Sequence[Outcome], width: int) -> list[list[str]]:
    """Give the table the columns that have room beside its first, and return the rows for them.
    Where not all columns have, intervals are below their figures."""
    columns = [list(column) for column in zip(_HEADINGS, *map(_cells, outcomes), strict=True)]
    if len(fitting(columns, width, _LEFT_OUT_FIRST)) < len(columns):
        columns = [[cell.replace(" (", "\n(") for cell in column] for column in columns]
    places = fitting(columns, width, _LEFT_OUT_FIRST)
    if left_out := [name for at, name in enumerate(_HEADINGS) if at not in places]:
        shown.caption = f"{shown.caption} No room for: {', '.join(left_out)}."
    for at in places:
        shown.add_column(columns[at][0], justify="right", no_wrap=True)
    return [[columns[at][1 + row] for at in places] for row in range(len(outcomes))]


def _cells(outcome: Outcome) -> tuple[str, ...]:
    """An outcome below the headings."""
    wrong = outcome.disagreement
    return (
        _shares(outcome.student_share),
        _numbers(outcome.usd),
        _numbers(outcome.latency_s),
        _numbers(outcome.p95_s),
        "–" if wrong is None else _shares(wrong.of_student_answers),
        "–" if wrong is None else _shares(wrong.of_all_answers),
    )


def _shares(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ({100 * estimate.low:.1f}–{100 * estimate.high:.1f})"


def _numbers(estimate: Estimate) -> str:
    if np.isnan(estimate.value):
        return "–"
    # As many decimals as the interval's end needs for three digits.
    high = max(estimate.high, 1e-9)
    decimals = min(max(2 - int(np.floor(np.log10(high))), 0), 6)
    return (
        f"{estimate.value:,.{decimals}f} "
        f"({estimate.low:,.{decimals}f}–{estimate.high:,.{decimals}f})"
    )
