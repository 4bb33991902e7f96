"""The estimate as a table, as JSON and as a chart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from policies.binomial import clopper_pearson
from router.demo.report import ROUTES, Row
from router.estimate.figures import POINTS, Control, Figures, Tally, TaskFigures, total
from telemetry.exchange import PICO

_MOST_TASKS = 30
"""Tasks that the table has a row for; the others are summed up in one."""
_BARS = " ▁▂▃▄▅▆▇█"
_COLUMNS = 10
"""Bars of a learning curve in the table."""
_LINES = 6
"""Tasks that the chart has a line for."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """All that there is to report."""

    title: str
    """What the logs are."""
    teacher: str
    """The model that answers are priced as."""
    alpha: float
    delta: float
    audit_rate: float
    seed: int
    skipped: int
    """Rows that could not be used."""
    since: float | None
    """Unix time of the earliest request,"""
    until: float | None
    """and of the latest; None where the logs do not say."""
    figures: Figures


def interval(wrong: int, answers: int, delta: float) -> tuple[float, float]:
    """Where the share of wrong answers lies with confidence ``1 - delta``, were the answers seen a
    random sample."""
    return clopper_pearson(wrong / answers, answers, delta)


# JSON


def as_json(estimate: Estimate) -> dict[str, Any]:
    """All figures, under the keys of the demo's and some of its own."""
    figures = estimate.figures
    return {
        "teacher": {"name": estimate.teacher, "replay": True},
        "logs": estimate.title,
        "since": estimate.since,
        "until": estimate.until,
        "seed": estimate.seed,
        "alpha": estimate.alpha,
        "delta": estimate.delta,
        "audit_rate": estimate.audit_rate,
        "requests": figures.sums.requests,
        "failures": 0,
        "skipped_rows": estimate.skipped,
        "training_lag_s": 0.0,
        "tasks": [_of_task(task, estimate) for task in figures.tasks],
        "totals": _row("all", figures.parts(), figures.control, estimate.delta),
        "baseline": None,
    }


def _of_task(task: TaskFigures, estimate: Estimate) -> dict[str, Any]:
    parts = estimate.figures.parts(task)
    return {
        **_row(task.task, parts, task.sums.control, estimate.delta),
        "promotions": task.promotions,
        "demotions": task.demotions,
        "verdict": task.verdict,
    }


def _row(task: str, parts: Sequence[Tally], control: Control, delta: float) -> dict[str, Any]:
    sums = total(parts)
    compared, wrong = sums.compared, sums.disagreements
    unknown: dict[str, float | None] = dict.fromkeys(ROUTES)
    row = Row(
        task=task,
        requests=sums.requests,
        student_share=sums.student_share,
        student_answers=sums.student_answers,
        student_agreement=1 - wrong / compared if compared else None,
        cost_usd=sums.cost / PICO,
        teacher_only_cost_usd=sums.teacher_cost / PICO,
        p50_ms=unknown,
        p95_ms=unknown,
    )
    return {
        **dataclasses.asdict(row),
        "disagreements": wrong,
        "disagreement": wrong / compared if compared else None,
        "disagreement_interval": interval(wrong, compared, delta) if compared else None,
        "random_disagreement": control.disagreement,
        "audits": sums.audits,
        "audit_cost_usd": sums.audit_cost / PICO,
        "saved_usd": (sums.teacher_cost - sums.cost) / PICO,
        "curve": _curve(parts),
    }


def _curve(parts: Sequence[Tally]) -> list[dict[str, float | int]]:
    """Sums from the start up to the end of each part of the logs."""
    so_far = accumulate(parts, lambda before, part: total((before, part)))
    return [
        {
            "logs": (number + 1) / POINTS,
            "requests": sums.requests,
            "student_answers": sums.student_answers,
            "compared": sums.compared,
            "disagreements": sums.disagreements,
            "audits": sums.audits,
            "cost_usd": sums.cost / PICO,
            "teacher_only_cost_usd": sums.teacher_cost / PICO,
        }
        for number, sums in enumerate(so_far)
    ]


# Table

_HEADINGS = (
    "requests",
    "student",
    "over time",
    "lately",
    "disagree",
    "interval",
    "random",
    "audits",
    "all-teacher $",
    "cost $",
    "saved",
)


def table(estimate: Estimate) -> Table:
    """Figures by task, the largest first, and in total."""
    figures, delta = estimate.figures, estimate.delta
    shown = Table(title=escape(f"Estimate for {estimate.title}"), title_style="bold")
    shown.caption = (
        f"student: share answered by students, by tenths of the logs over time, and in the last "
        f"one. disagree: share of their answers that the teacher contradicts, {1 - delta:.0%} "
        "interval; random: the same had a coin chosen what they answer, at the same cost. "
        "Costs include audits."
    )
    shown.add_column("task", overflow="fold")
    for heading in _HEADINGS:
        shown.add_column(heading, justify="right", no_wrap=True)
    for task in figures.tasks[:_MOST_TASKS]:
        shown.add_row(escape(task.task), *_cells(figures.parts(task), task.sums.control, delta))
    others = Figures(figures.tasks[_MOST_TASKS:])
    if others.tasks:
        name = f"{len(others.tasks):,} smaller tasks"
        shown.add_row(name, *_cells(others.parts(), others.control, delta), style="dim")
    shown.add_section()
    shown.add_row("all", *_cells(figures.parts(), figures.control, delta), style="bold")
    return shown


def reasons(estimate: Estimate) -> list[str]:
    """For each task of the table that no student has answered, why."""
    return [
        f"{task.task}: {task.verdict or 'too few answers to train a student'}"
        for task in estimate.figures.tasks[:_MOST_TASKS]
        if not task.sums.student_answers
    ]


def _cells(parts: Sequence[Tally], control: Control, delta: float) -> list[str]:
    sums = total(parts)
    tenths = [
        total(parts[i : i + POINTS // _COLUMNS]) for i in range(0, POINTS, POINTS // _COLUMNS)
    ]
    compared, wrong = sums.compared, sums.disagreements
    low, high = interval(wrong, compared, delta) if compared else (0.0, 0.0)
    return [
        f"{sums.requests:,}",
        f"{sums.student_share:.1%}",
        "".join(_bar(tenth.student_share) for tenth in tenths),
        f"{tenths[-1].student_share:.0%}" if tenths[-1].requests else "–",
        f"{wrong / compared:.1%}" if compared else "–",
        f"{low:.1%}–{high:.1%}" if compared else "–",
        "–" if control.disagreement is None else f"{control.disagreement:.1%}",
        f"{sums.audits:,}",
        f"{sums.teacher_cost / PICO:.4f}",
        f"{sums.cost / PICO:.4f}",
        f"{1 - sums.cost / sums.teacher_cost:.1%}" if sums.teacher_cost else "–",
    ]


def _bar(share: float) -> str:
    # Any share at all is to be seen.
    return _BARS[max(round(share * (len(_BARS) - 1)), int(share > 0))]


# Chart


def chart(estimate: Estimate, path: Path) -> None:
    """A PNG of the learning curve: share answered by students, of all tasks and of the largest;
    their disagreement so far; and the cost so far against all-teacher. Raises OSError."""
    # A second of import time that only this needs.
    from matplotlib.figure import Figure

    figures = estimate.figures
    points = _curve(figures.parts())
    at = [point["requests"] for point in points]
    figure = Figure(figsize=(10, 10), layout="constrained")
    shares, disagreements, costs = figure.subplots(3, sharex=True)
    figure.suptitle(f"Estimate for {estimate.title}", parse_math=False)
    for task in figures.tasks[:_LINES] if len(figures.tasks) > 1 else []:
        shares.plot(at, _shares(figures.parts(task)), linewidth=1, alpha=0.6, label=task.task)
    shares.plot(at, _shares(figures.parts()), color="black", label="all")
    shares.set_ylim(-0.02, 1.02)
    shares.set_ylabel("share answered by students")
    for text in shares.legend(fontsize="small").get_texts():
        text.set_parse_math(False)
    answered = [point for point in points if point["compared"]]
    wrong = [point["disagreements"] / point["compared"] for point in answered]
    disagreements.plot([p["requests"] for p in answered], wrong, color="tab:green", label="so far")
    disagreements.axhline(
        estimate.alpha, color="tab:red", linestyle="--", label=f"promise: {estimate.alpha:.0%}"
    )
    disagreements.set_ylim(bottom=0)
    disagreements.set_ylabel("disagreement of students' answers")
    disagreements.legend(fontsize="small")
    all_teacher = [point["teacher_only_cost_usd"] for point in points]
    costs.plot(at, all_teacher, color="tab:gray", label="all to the teacher")
    costs.plot(at, [p["cost_usd"] for p in points], color="tab:blue", label="Protege, with audits")
    costs.set_ylabel("cost so far (USD)")
    costs.set_xlabel("requests")
    costs.legend(fontsize="small")
    figure.savefig(path, dpi=120, format="png")


def _shares(parts: Sequence[Tally]) -> list[float | None]:
    """Share answered by students in each part; None where it has no requests."""
    return [part.student_share if part.requests else None for part in parts]
