"""How fast a server goes: the difference of two looks at its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from router.top.scrape import Labels, Scrape

_HOUR_S = 3600.0
_COST = "protege_cost_usd_total"
_AUDITS = "protege_audit_cost_usd_total"
_TRYOUTS = "protege_tryout_cost_usd_total"
_TEACHER = "protege_teacher_only_cost_usd_total"
_REQUESTS = "protege_requests_total"
_DURATION = "protege_request_duration_seconds_bucket"


@dataclass(frozen=True, slots=True)
class Money:
    """USD an hour."""

    spent: float
    saved: float


@dataclass(frozen=True, slots=True)
class RoutePace:
    """Answers of one route; seconds that half and 95% of them took, None where there were none."""

    route: str
    requests_per_s: float
    p50_s: float | None
    p95_s: float | None


@dataclass(frozen=True, slots=True)
class TaskPace:
    """One task; its agreement is None before the first audit."""

    task: str
    requests_per_s: float
    by_student: float
    """Share."""
    money: Money
    agreement: float | None
    lower: float | None
    """End of its interval."""
    version: str | None
    """The student in service."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What happens between two looks, and how things stand at the second."""

    over_s: float
    requests_per_s: float
    failing: float
    """Share of requests with a status from 400 on, and of answers that broke off."""
    money: Money
    routes: tuple[RoutePace, ...]
    tasks: tuple[TaskPace, ...]
    """The busiest first; also those at rest that a student serves."""
    in_flight: int
    waiting: int
    """Exchanges and audits that wait for the database."""
    resting: tuple[str, ...]
    """Upstream models that are left alone because they keep failing."""
    promised: float | None
    """Agreement."""


def pace(before: Scrape, now: Scrape) -> Pace:
    """From one look to a later one. What a server counted before it was
    started anew is left out."""
    moved = Scrape(now.at, {name: _moved(before, now, name) for name in now.values})
    seconds = max(now.at - before.at, 1e-9)
    requests = moved.total(_REQUESTS)
    statuses = moved.by(_REQUESTS, "status")
    failed = sum(count for status, count in statuses.items() if status >= "400")
    failed += moved.total("protege_broken_answers_total")
    routes = sorted(now.by(_REQUESTS, "route"))
    resting = now.by("protege_breaker_open", "upstream")
    return Pace(
        over_s=seconds,
        requests_per_s=requests / seconds,
        failing=failed / requests if requests else 0.0,
        money=_money(seconds, moved.total(_COST), _beside(moved), moved.total(_TEACHER)),
        routes=tuple(_route(moved, route, seconds) for route in routes),
        tasks=_tasks(moved, now, seconds),
        in_flight=round(now.total("protege_in_flight_requests")),
        waiting=round(now.total("protege_store_queue_exchanges")),
        resting=tuple(sorted(name for name, is_open in resting.items() if is_open)),
        promised=min(now.values.get("protege_bound_ratio", {}).values(), default=None),
    )


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """The value that so large a ``share`` is below, by counts up to and including each bound: as
    Prometheus' ``histogram_quantile``, straight between two bounds. None where there are none.

    >>> quantile({1.0: 5, 2.0: 10, inf: 10}, 0.75)
    1.5
    """
    counted = [(0.0, 0.0), *sorted(buckets.items())]
    wanted = share * counted[-1][1]
    if not wanted:
        return None
    for (low, below), (high, up_to) in pairwise(counted):
        if up_to >= wanted:
            return low if high == inf else low + (high - low) * (wanted - below) / (up_to - below)
    return None


def _moved(before: Scrape, now: Scrape, name: str) -> dict[Labels, float]:
    earlier = before.values.get(name, {})
    moved = {}
    for labels, value in now.values[name].items():
        then = earlier.get(labels, 0.0)
        moved[labels] = value - then if value >= then else value
    return moved


def _money(seconds: float, cost: float, audits: float, teacher: float) -> Money:
    an_hour = _HOUR_S / seconds
    return Money((cost + audits) * an_hour, (teacher - cost - audits) * an_hour)


def _route(moved: Scrape, route: str, seconds: float) -> RoutePace:
    by_bound = moved.only(_DURATION, "route", route).by(_DURATION, "le")
    buckets = {float(bound): count for bound, count in by_bound.items()}
    return RoutePace(
        route=route,
        requests_per_s=moved.by(_REQUESTS, "route").get(route, 0.0) / seconds,
        p50_s=quantile(buckets, 0.5),
        p95_s=quantile(buckets, 0.95),
    )


def _beside(moved: Scrape) -> float:
    """USD spent on audits and tryouts."""
    return moved.total(_AUDITS) + moved.total(_TRYOUTS)


def _tasks(moved: Scrape, now: Scrape, seconds: float) -> tuple[TaskPace, ...]:
    requests = moved.by(_REQUESTS, "task")
    by_student = moved.only(_REQUESTS, "route", "student").by(_REQUESTS, "task")
    cost, audits = moved.by(_COST, "task"), moved.by(_AUDITS, "task")
    tryouts = moved.by(_TRYOUTS, "task")
    teacher = moved.by(_TEACHER, "task")
    agreement = now.by("protege_agreement_ratio", "task")
    lower = now.by("protege_agreement_lower_ratio", "task")
    versions = {
        dict(labels)["task"]: dict(labels)["version"]
        for labels, value in now.values.get("protege_student_info", {}).items()
        if value
    }
    shown = {task for task, count in requests.items() if count} | versions.keys()
    tasks = [
        TaskPace(
            task=task,
            requests_per_s=requests.get(task, 0.0) / seconds,
            by_student=by_student.get(task, 0.0) / requests[task] if requests.get(task) else 0.0,
            money=_money(
                seconds,
                cost.get(task, 0.0),
                audits.get(task, 0.0) + tryouts.get(task, 0.0),
                teacher.get(task, 0.0),
            ),
            agreement=agreement.get(task),
            lower=lower.get(task),
            version=versions.get(task),
        )
        for task in shown
    ]
    return tuple(sorted(tasks, key=lambda each: (-each.requests_per_s, each.task)))
