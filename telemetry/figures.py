"""Sums of what exchanges cost, saved and showed of students' quality, grouped for those who look.

Money is summed in whole picodollars: sums by any grouping add up to the same total.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from operator import add
from typing import Any, Literal

from sqlalchemy import ColumnElement, Engine, Float, Select, Table, func, select

from telemetry.measures import DAY_H, HOUR, HOUR_S, KEY, MEASURES, REQUESTS, total, whole
from telemetry.rollup import summed_until
from telemetry.schema import daily_sums, exchanges, hourly_sums

Dimension = Literal["day", "hour", "task", "route", "model", "key"]


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
    tryout_cost: int
    """Of asking hosted models too, to see whether they may answer."""
    pairs: int
    """Audits with both a predicted and a real cost of the teacher, those included that say nothing
    else. The predicted ones sum up to"""
    pair_teacher_cost: int
    """this,"""
    pair_audit_cost: int
    """and the real ones to this, which is a part of ``audit_cost``: the teacher is also asked again
    for answers of its own."""
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
        """Against asking the teacher alone; audits and tryouts are paid for. Below 0 where that was
        dearer."""
        return self.teacher_cost - self.cost - self.audit_cost - self.tryout_cost


def sums(engine: Engine, since: float, until: float, by: Sequence[Dimension] = ()) -> list[Sum]:
    """The sums of exchanges from Unix time ``since`` to before ``until``, one for each group of the
    dimensions ``by``, in order of the groups; without dimensions one of all, if there are any.

    Whole days and hours that are summed up are not read again. Blocks.
    """
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    with engine.connect() as connection:
        for query in _queries(since, until, by, summed_until(connection)):
            for row in connection.execute(query):
                group, values = tuple(row[: len(by)]), tuple(row[len(by) :])
                before = found.get(group)
                found[group] = values if before is None else tuple(map(add, before, values))
    made = [
        Sum(tuple(map(_word, by, group)), *values) for group, values in found.items() if values[0]
    ]
    return sorted(made, key=lambda each: each.group)


def together(found: Sequence[Sum]) -> Sum | None:
    """Several sums as one; None without any."""
    if not found:
        return None
    columns = zip(*(astuple(each)[1:] for each in found), strict=True)
    return Sum((), *map(sum, columns))


def _queries(
    since: float, until: float, by: Sequence[Dimension], summed: int
) -> Iterator[Select[Any]]:
    """Queries that have every exchange in one of them; those before the hour ``summed`` are in the
    sums."""
    first, last = int(-(-since // HOUR_S)), int(min(until, summed * HOUR_S) // HOUR_S)
    if last <= first:
        yield _read(since, until, by)
        return
    yield _read(since, first * HOUR_S, by)
    first_day, last_day = -(-first // DAY_H), last // DAY_H
    if "hour" in by or last_day <= first_day:
        yield _summed(hourly_sums, first, last, by)
    else:
        yield _summed(hourly_sums, first, first_day * DAY_H, by)
        yield _summed(daily_sums, first_day, last_day, by)
        yield _summed(hourly_sums, last_day * DAY_H, last, by)
    yield _read(last * HOUR_S, until, by)


def _read(since: float, until: float, by: Sequence[Dimension]) -> Select[Any]:
    """The sums of exchanges themselves."""
    dimensions: dict[Dimension, ColumnElement[Any]] = {
        **{name: exchanges.c[name] for name in ("task", "route", "model")},
        "day": whole(HOUR, DAY_H),
        "hour": HOUR,
        "key": KEY,
    }
    groups = [dimensions[name] for name in by]
    within = (exchanges.c.created >= since, exchanges.c.created < until)
    return select(*groups, *MEASURES).where(*within, REQUESTS).group_by(*groups)


def _summed(table: Table, first: int, last: int, by: Sequence[Dimension]) -> Select[Any]:
    """The sums of sums, of the periods from number ``first`` to before number ``last``."""
    period = table.primary_key.columns[0]
    groups = [
        whole(period, DAY_H) if name == "day" and table is hourly_sums else table.c[name]
        for name in by
    ]
    return (
        select(*groups, *(_total(table.c[measure.name]) for measure in MEASURES))
        .where(period >= first, period < last)
        .group_by(*groups)
    )


def _total(column: ColumnElement[Any]) -> ColumnElement[Any]:
    if isinstance(column.type, Float):
        return func.coalesce(func.sum(column), 0.0)
    return total(column)


def _word(name: Dimension, value: Any) -> str:
    if name == "day":
        return datetime.fromtimestamp(value * DAY_H * HOUR_S, UTC).strftime("%Y-%m-%d")
    if name == "hour":
        return datetime.fromtimestamp(value * HOUR_S, UTC).strftime("%Y-%m-%dT%H:00:00Z")
    return str(value)
