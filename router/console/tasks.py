"""Tasks: all in a table, and a page for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from distill import registry
from distill.card import Card
from router.console import charts, words
from router.console.charts import Chart, Mark
from router.console.drawn import drawn
from router.console.exchanges import newest, question
from router.console.overview import TaskTotal, by_task
from router.console.page import Page
from router.console.period import CHOICES, Course, Period, Total
from router.errors import NotFoundError
from telemetry.exchange import PICO, Exchange, StudentRecord, TaskState
from telemetry.figures import Sum, sums
from telemetry.past import past, since_newest
from telemetry.search import find
from telemetry.store import Store

_REPLAYED = 3000
"""Requests that the curve is drawn from: the newest of the task."""
_LAST = 10
_DISAGREEMENTS = 6

_ORDERS: dict[str, Callable[[TaskTotal], Any]] = {
    "cost": lambda each: -each.total.teacher_cost,
    "task": lambda each: each.task,
    "requests": lambda each: -each.total.requests,
    "share": lambda each: -(each.total.student_share or 0.0),
    "agreement": lambda each: -(each.total.disagreements / max(each.total.audits, 1)),
    "spent": lambda each: -each.total.spent,
    "saved": lambda each: -each.total.saved,
    "errors": lambda each: -each.total.errors,
}
"""What the table may be sorted by."""


@dataclass(frozen=True, slots=True)
class TaskView:
    """All that is known of one task."""

    sums: Sequence[Sum]
    """By slot and route."""
    state: TaskState
    students: Sequence[StudentRecord]
    """The newest first."""
    last: Sequence[Exchange]
    disagreements: Sequence[Exchange]

    @property
    def serving(self) -> StudentRecord | None:
        return next((record for record in self.students if record.serving), None)

    @property
    def coming(self) -> StudentRecord | None:
        """The one that is on its way into service."""
        return next((record for record in self.students if record.stage is not None), None)

    @property
    def rungs(self) -> list[str]:
        """Of the serving student, from the cheapest to the dearest."""
        if self.serving is None:
            return []
        return words.rungs(Card.parse(self.serving.card).rungs)


async def show_all(page: Page) -> Response:
    period = Period.of(page.asked("period"))
    order = page.asked("sort")
    order = order if order in _ORDERS else "cost"
    tasks = await asyncio.to_thread(by_task, page.parts.store, period)
    tasks.sort(key=_ORDERS[order])
    return page.render("tasks.html", period=period, choices=CHOICES, tasks=tasks, order=order)


async def show_one(page: Page) -> Response:
    task = page.exactly("name")
    period = Period.of(page.asked("period"))
    view = await asyncio.to_thread(_view, page.parts.store, task, period)
    if not (view.sums or view.last or view.students):
        raise NotFoundError("No such task has had any request.")
    course = Course(period, view.sums)
    promised = page.parts.settings.policy
    serving = view.serving
    shown = serving or view.coming
    return page.render(
        "task.html",
        task=task,
        period=period,
        choices=CHOICES,
        view=view,
        whole=Total.of(view.sums),
        student=registry.summary(serving) if serving else None,
        coming=registry.summary(view.coming) if view.coming else None,
        last_run=registry.summary(view.students[0]) if view.students else None,
        slices=Card.parse(shown.card).slices if shown else (),
        texts={each.id: question(each) for each in (*view.last, *view.disagreements)},
        curve=await asyncio.to_thread(_curve, page, task),
        **drawn(course, promised, "Audited answers of the student that agree with the teacher"),
    )


def _view(store: Store, task: str, period: Period) -> TaskView:
    engine = store.engine
    found = sums(engine, period.since, period.until, (period.slot, "route", "task"))
    return TaskView(
        sums=[each for each in found if each.group[2] == task],
        state=store.roster.task_state(task),
        students=store.roster.students(task)[::-1],
        last=find(engine, newest(task, None, _LAST)),
        disagreements=find(engine, newest(task, "disagreed", _DISAGREEMENTS)),
    )


def _curve(page: Page, task: str) -> Chart | None:
    """Cost against quality; None where no student has been asked."""
    # Libraries of numbers, which a server without a student has no other need of.
    from policies.estimation import LEVEL
    from policies.evaluation import Outcome, frontier
    from policies.history import read
    from policies.threshold import Bound

    store, settings = page.parts.store, page.parts.settings.policy
    since = since_newest(store, task, _REPLAYED)
    history = read(past(store, since, time.time(), task), Bound())
    if not len(history) or not history.able.any():
        return None
    found = frontier(history, settings.audit_rate)
    a_thousand = 1000 * PICO / len(history)

    def mark(name: str, outcome: Outcome) -> Mark:
        wrong = outcome.disagreement
        low, high = 1.0, 1.0
        if wrong is not None:
            low, high = 1 - wrong.of_all_answers.high, 1 - wrong.of_all_answers.low
        return Mark(name, outcome.usd.value * a_thousand, low, outcome.quality, high)

    points = [
        mark("teacher alone" if each.threshold is None else f"{each.threshold:.3f}", each.outcome)
        for each in found.points
    ]
    return charts.curve(
        f"Cost of 1,000 requests against quality, from the newest {len(history):,} requests",
        points,
        mark("as it was", found.operating),
        LEVEL,
        "of all answers are the teacher's or agree",
    )
