"""A replayed policy beside what really happened, the teacher alone, and a control."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from rich.table import Table

from policies.estimation import LEVEL, Estimate
from policies.evaluation import Outcome, happened, random_control, replay
from policies.history import Floats, History

HEADINGS = (
    "policy",
    "students answer",
    "USD",
    "mean s",
    "95% within s",
    "disagree",
    "of all",
)

LEFT_OUT = {
    "forced": "whose model the caller named",
    "failed": "that got no whole answer",
    "private": "whose texts are not in the store",
    "fallback": "in which the student stood in for the teacher",
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

    def table(self) -> Table:
        shown = Table(
            title=f"{self.requests:,} requests from {_date(self.since)} to {_date(self.until)} UTC",
            caption=f"In brackets: {LEVEL:.0%} intervals for traffic like this. Disagree: of the "
            "students' answers, not the teacher's. USD: audits included.",
        )
        for heading in HEADINGS:
            shown.add_column(heading, justify="left" if heading == "policy" else "right")
        shown.add_row("as it was", *cells(self.happened))
        shown.add_row(self.policy, *cells(self.replayed), style="bold")
        control = f"random {self.random_share:.1%}, same cost"
        shown.add_row(control, *cells(self.control))
        shown.add_row("teacher alone", *cells(self.teacher))
        return shown


def left_out_in_words(left_out: dict[str, int]) -> str:
    """One line, empty where nothing was left out."""
    if not left_out:
        return ""
    parts = (f"{count:,} {LEFT_OUT[reason]}" for reason, count in left_out.items())
    return f"Left out are requests {'; '.join(parts)}."


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


def cells(outcome: Outcome) -> tuple[str, ...]:
    """An outcome in a table: all but the first of the headings."""
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


def _date(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M}"
