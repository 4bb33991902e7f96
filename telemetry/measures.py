"""What is summed over exchanges, as SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Float, case, cast, false, func, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from telemetry.exchange import PICO
from telemetry.schema import exchanges

HOUR_S = 3600
DAY_H = 24


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


def whole(number: ColumnElement[Any], divisor: int) -> ColumnElement[Any]:
    """A whole number by another, the rest cut off."""
    return number.op("/")(literal_column(str(divisor)))


# Of whole numbers, so that what comes at the very end of an hour does not count for the next.
HOUR = whole(_WholeSeconds(exchanges.c.created), HOUR_S)
"""The number of an exchange's hour, counted from Unix time 0."""

KEY = func.coalesce(exchanges.c.key, "")

REQUESTS = exchanges.c.route != "imported"
"""Of the exchanges, those that somebody asked for."""

FAILED = (exchanges.c.status >= 400) | exchanges.c.error.is_not(None)
"""Those that got no answer, or one that broke off."""

_BY_STUDENT = exchanges.c.route == "student"
_AUDITED = exchanges.c.agreed.is_not(None)
_DISAGREED = exchanges.c.agreed.is_(false())
_PROMISED = exchanges.c.reason == "student_confident"
# What the teacher took is known even where its answer was none to compare with.
_PAIR = _BY_STUDENT & (exchanges.c.audit_cost > 0)


def total(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The sum of whole numbers; 0 where there are none."""
    # Sums of PostgreSQL's are decimals.
    return func.coalesce(cast(func.sum(column), BigInteger), 0)


def _count(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _of_pairs(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    # In USD: squares of picodollars are beyond the databases' whole numbers.
    product = (cast(one, Float) / PICO) * (cast(other, Float) / PICO)
    return func.coalesce(func.sum(case((_PAIR, product), else_=0.0)), 0.0)


MEASURES = (
    func.count().label("requests"),
    _count(FAILED).label("errors"),
    _count(_BY_STUDENT).label("by_student"),
    _count(_AUDITED).label("audits"),
    _count(_DISAGREED).label("disagreements"),
    _count(_AUDITED & _PROMISED).label("promised_audits"),
    _count(_DISAGREED & _PROMISED).label("promised_disagreements"),
    total(exchanges.c.prompt_tokens).label("prompt_tokens"),
    total(exchanges.c.completion_tokens).label("completion_tokens"),
    total(exchanges.c.cost).label("cost"),
    total(exchanges.c.teacher_cost).label("teacher_cost"),
    total(case((_BY_STUDENT, exchanges.c.teacher_cost), else_=0)).label("student_teacher_cost"),
    total(exchanges.c.audit_cost).label("audit_cost"),
    total(exchanges.c.tryout_cost).label("tryout_cost"),
    _count(_PAIR).label("pairs"),
    total(case((_PAIR, exchanges.c.teacher_cost), else_=0)).label("pair_teacher_cost"),
    total(case((_PAIR, exchanges.c.audit_cost), else_=0)).label("pair_audit_cost"),
    _of_pairs(exchanges.c.teacher_cost, exchanges.c.teacher_cost).label("predicted_squared"),
    _of_pairs(exchanges.c.audit_cost, exchanges.c.audit_cost).label("real_squared"),
    _of_pairs(exchanges.c.teacher_cost, exchanges.c.audit_cost).label("predicted_times_real"),
    func.coalesce(func.sum(exchanges.c.latency_s), 0.0).label("latency_s"),
)
"""By the names that ``telemetry.schema`` gives the columns of sums."""
