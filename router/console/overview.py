"""The first page: what was spent and saved, whether quality holds, and what wants a look."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from config.settings import PolicySettings
from router.console import words
from router.console.drawn import drawn
from router.console.page import Page, link
from router.console.period import CHOICES, Course, Period, Total
from telemetry.exchange import StudentRecord
from telemetry.figures import Sum, sums
from telemetry.store import Store

_DEAREST = 8
"""Tasks that are listed."""
_LEAST_AUDITS = 20
"""Audits before anything is said of a task's agreement."""
_ERRORS = 0.02
"""Share of requests that fail from which on it is said."""
_LEAST_ERRORS = 5
_DEAR = 0.1
"""Share of all that the teacher costs from which on a task without a student is named."""


@dataclass(frozen=True, slots=True)
class Advice:
    """Something that wants a look."""

    grave: bool
    text: str
    href: str


@dataclass(frozen=True, slots=True)
class TaskTotal:
    """What one task came to."""

    task: str
    total: Total
    serving: str | None
    """Version of its student,"""
    coming: StudentRecord | None
    """and the one that is on its way into service."""


async def show(page: Page) -> Response:
    period = Period.of(page.asked("period"))
    store = page.parts.store
    course, tasks, models = await asyncio.to_thread(_figures, store, period)
    whole = Total.of(course.sums)
    promised = page.parts.settings.policy
    return page.render(
        "overview.html",
        api=f"{page.request.base_url}v1",
        period=period,
        choices=CHOICES,
        whole=whole,
        tasks=tasks[:_DEAREST],
        more=max(0, len(tasks) - _DEAREST),
        models=models,
        advice=_advice(period, whole, tasks, promised),
        replayed=any(words.is_replay(name) for name, _ in models),
        **drawn(course, promised, "Audited answers of students that agree with the teacher"),
    )


def by_task(store: Store, period: Period) -> list[TaskTotal]:
    """What every task came to, the dearest first."""
    found = sums(store.engine, period.since, period.until, ("task",))
    placed = store.roster.placed()
    serving = {record.task: record.version for record in placed if record.serving}
    coming = {record.task: record for record in placed if not record.serving}

    def told(each: Sum) -> TaskTotal:
        (task,) = each.group
        return TaskTotal(task, Total.of([each]), serving.get(task), coming.get(task))

    tasks = [told(each) for each in found]
    return sorted(tasks, key=lambda each: -each.total.teacher_cost)


def _figures(
    store: Store, period: Period
) -> tuple[Course, list[TaskTotal], list[tuple[str, Total]]]:
    between = (period.since, period.until)
    course = Course(period, sums(store.engine, *between, (period.slot, "route")))
    by_model: dict[str, Total] = {}
    students: list[Total] = []
    for each in sums(store.engine, *between, ("model", "route")):
        total = Total.of([each])
        if each.group[1] == "student":
            # Their versions are many; together they are what stands in for the teacher.
            students.append(total)
        else:
            by_model[each.group[0]] = by_model.get(each.group[0], Total()).plus(total)
    models = sorted(by_model.items(), key=lambda named: -named[1].cost)
    if students:
        together = Total()
        for total in students:
            together = together.plus(total)
        models.append(("students", together))
    return course, by_task(store, period), models


def _advice(
    period: Period, whole: Total, tasks: Sequence[TaskTotal], promised: PolicySettings
) -> list[Advice]:
    """What wants a look, the gravest first."""
    found = []
    for each in tasks:
        counted = each.total.agreement(promised.delta)
        if counted is None or counted.trials < _LEAST_AUDITS:
            continue
        at = link("/task", name=each.task)
        seen = f"{words.share(counted.share)} of {counted.trials:,} audited answers agree"
        if counted.high < 1 - promised.alpha:
            found.append(Advice(True, f"{each.task} breaks its promise: {seen}.", at))
        elif counted.share < 1 - promised.alpha:
            found.append(Advice(False, f"{each.task} may break its promise: {seen}.", at))
    if whole.errors >= _LEAST_ERRORS and (whole.error_share or 0) > _ERRORS:
        failed = f"{whole.errors:,} of {whole.requests:,} requests failed."
        at = link("/exchanges", outcome="failed", period=period.name)
        found.append(Advice(True, failed, at))
    dear = [
        each
        for each in tasks
        if not (each.serving or each.coming)
        and each.total.teacher_cost > _DEAR * whole.teacher_cost > 0
    ]
    found += [
        Advice(
            False,
            f"{each.task} has no student and makes up "
            f"{words.share(each.total.teacher_cost / whole.teacher_cost)} of the teacher's cost.",
            link("/task", name=each.task),
        )
        for each in dear[:2]
    ]
    return sorted(found, key=lambda advice: not advice.grave)
