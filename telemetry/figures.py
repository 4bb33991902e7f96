"""Sums of what exchanges cost, saved and showed of students' quality, grouped for those who look.

Money is summed in whole picodollars: sums by any grouping add up to the same total.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Engine,
    Float,
    case,
    cast,
    false,
    func,
    literal_column,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from telemetry.exchange import PICO
from telemetry.schema import exchanges

Dimension = Literal["day", "hour", "task", "route", "model", "key"]

HOUR_S = 3600
DAY_S = 86400


@dataclass(frozen=True, slots=True)
class Sum:
    """What the exchanges of one group come to. Money is in picodollars."""

    group: tuple[str, ...]
    """Values of the dimensions that were grouped by, in their order: a day such as ``2026-03-01``,
    an hour such as ``2026-03-01T09:00:00Z``; the key of a request without one is ``""``."""
    requests: int
    errors: int
    """Requests that got no answer, or one that broke off."""
    by_student: int
    audits: int
    """Student answers put to the teacher too."""
    disagreements: int
    """Audits in which the teacher said something else."""
    promised_audits: int
    """Audits of answers that the promise covers: those that the student was sure of."""
    promised_disagreements: int
    prompt_tokens: int
    completion_tokens: int
    cost: int
    """Of the answers to callers,"""
    teacher_cost: int
    """and what the teacher alone costs for them."""
    student_teacher_cost: int
    """The part of ``teacher_cost`` that is predicted: of what students answered."""
    audit_cost: int
    pairs: int
    """Audits with both a predicted and a real cost of the teacher. The real ones sum up to
    ``audit_cost``,"""
    pair_teacher_cost: int
    """the predicted ones to this."""
    predicted_squared: float
    """Over pairs, the sum of the squares of the predicted cost in USD,"""
    real_squared: float
    """of those of the real cost,"""
    predicted_times_real: float
    """and of the products of both."""
    latency_s: float
    """Of all requests together."""

    @property
    def saved(self) -> int:
        """Against asking the teacher alone; audits are paid for. Below 0 where that was dearer."""
        return self.teacher_cost - self.cost - self.audit_cost


def sums(engine: Engine, since: float, until: float, by: Sequence[Dimension] = ()) -> list[Sum]:
    """The sums of exchanges from Unix time ``since`` to before ``until``, one for each group of the
    dimensions ``by``, in order of the groups; without dimensions one of all, if there are any.
    Blocks."""
    groups = [_DIMENSIONS[name].label(name) for name in by]
    query = (
        select(*groups, *_MEASURES)
        .where(exchanges.c.created >= since, exchanges.c.created < until)
        .group_by(*groups)
    )
    with engine.connect() as connection:
        found = [_sum(row, by) for row in connection.execute(query) if row.requests]
    return sorted(found, key=lambda each: each.group)


class _WholeSeconds(FunctionElement[int]):
    """Whole seconds of a Unix time. The databases' own casts differ: one cuts, the other rounds."""

    type = BigInteger()
    inherit_cache = True


@compiles(_WholeSeconds, "sqlite")
def _sqlite(element: _WholeSeconds, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS INTEGER)"


@compiles(_WholeSeconds, "postgresql")
def _postgresql(element: _WholeSeconds, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(floor({compiler.process(element.clauses, **options)}) AS BIGINT)"


def _slot(seconds: int) -> ColumnElement[Any]:
    """The number of an exchange's slot of so many ``seconds``, counted from Unix time 0."""
    # Of whole numbers, so that what comes at the very end of a slot does not count for the next.
    return _WholeSeconds(exchanges.c.created).op("/")(literal_column(str(seconds)))


_DIMENSIONS: dict[Dimension, ColumnElement[Any]] = {
    "day": _slot(DAY_S),
    "hour": _slot(HOUR_S),
    "task": exchanges.c.task,
    "route": exchanges.c.route,
    "model": exchanges.c.model,
    "key": func.coalesce(exchanges.c.key, ""),
}

_BY_STUDENT = exchanges.c.route == "student"
_AUDITED = exchanges.c.agreed.is_not(None)
_DISAGREED = exchanges.c.agreed.is_(false())
_PROMISED = exchanges.c.reason == "student_confident"
_PAIR = _AUDITED & (exchanges.c.audit_cost > 0)


def _total(column: ColumnElement[Any]) -> ColumnElement[Any]:
    # Sums of PostgreSQL's are decimals.
    return func.coalesce(cast(func.sum(column), BigInteger), 0)


def _count(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _of_pairs(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    # In USD: squares of picodollars are beyond the databases' whole numbers.
    product = (cast(one, Float) / PICO) * (cast(other, Float) / PICO)
    return func.coalesce(func.sum(case((_PAIR, product), else_=0.0)), 0.0)


_MEASURES = (
    func.count().label("requests"),
    _count((exchanges.c.status >= 400) | exchanges.c.error.is_not(None)).label("errors"),
    _count(_BY_STUDENT).label("by_student"),
    _count(_AUDITED).label("audits"),
    _count(_DISAGREED).label("disagreements"),
    _count(_AUDITED & _PROMISED).label("promised_audits"),
    _count(_DISAGREED & _PROMISED).label("promised_disagreements"),
    _total(exchanges.c.prompt_tokens).label("prompt_tokens"),
    _total(exchanges.c.completion_tokens).label("completion_tokens"),
    _total(exchanges.c.cost).label("cost"),
    _total(exchanges.c.teacher_cost).label("teacher_cost"),
    _total(case((_BY_STUDENT, exchanges.c.teacher_cost), else_=0)).label("student_teacher_cost"),
    _total(exchanges.c.audit_cost).label("audit_cost"),
    _count(_PAIR).label("pairs"),
    _total(case((_PAIR, exchanges.c.teacher_cost), else_=0)).label("pair_teacher_cost"),
    _of_pairs(exchanges.c.teacher_cost, exchanges.c.teacher_cost).label("predicted_squared"),
    _of_pairs(exchanges.c.audit_cost, exchanges.c.audit_cost).label("real_squared"),
    _of_pairs(exchanges.c.teacher_cost, exchanges.c.audit_cost).label("predicted_times_real"),
    func.coalesce(func.sum(exchanges.c.latency_s), 0.0).label("latency_s"),
)


def _sum(row: Any, by: Sequence[Dimension]) -> Sum:
    values = row._mapping
    group = tuple(_word(name, values[name]) for name in by)
    return Sum(group, *row[len(by) :])


def _word(name: Dimension, value: Any) -> str:
    if name == "day":
        return datetime.fromtimestamp(value * DAY_S, UTC).strftime("%Y-%m-%d")
    if name == "hour":
        return datetime.fromtimestamp(value * HOUR_S, UTC).strftime("%Y-%m-%dT%H:00:00Z")
    return str(value)
