"""Keeps sums of exchanges by the hour and by the day, so that nobody has to read them all again.

Hours that ended a while ago are summed up in the background. Who writes nevertheless to an exchange
of long ago, an audit that took its time for example, corrects the sums in the same transaction.
Both need no lock that a request would wait for: what is written soon after its request came, as
nearly all is, has nothing to do with the sums.

Any number of processes may do so at once. Where their clocks differ by more than the time between
``LATE_S`` and ``SETTLED_S``, or one was set back by as much, hours are summed up that are not over:
they are taken out of the sums again.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    Table,
    bindparam,
    delete,
    func,
    select,
    update,
)

from telemetry.exchange import Exchange
from telemetry.measures import DAY_H, HOUR, HOUR_S, KEY, MEASURES, REQUESTS
from telemetry.schema import daily_sums, exchanges, hourly_sums, rolled_up
from telemetry.upsert import upsert

LATE_S = 600.0
"""What is written so long after its request came may be in the sums already."""

SETTLED_S = 3600.0
"""An hour is summed up so long after its end. Until then its exchanges are read themselves."""

_MOST_HOURS = 2
"""Hours that one transaction sums up: others wait for it."""

_GROUP = ("task", "route", "model", "key")
_NAMES = tuple(measure.name for measure in MEASURES)


def roll_up(engine: Engine, now: float, most: int = 100_000) -> None:
    """Sum up hours that had ended ``SETTLED_S`` before Unix time ``now``, in at most so many
    transactions. Blocks."""
    settled = int((now - SETTLED_S) // HOUR_S)
    with engine.begin() as connection:
        _add_state(connection)
        _take_back(connection, now, settled)
    for _ in range(most):
        if not _step(engine, settled):
            break


def summed_until(connection: Connection) -> int:
    """The first hour that is not in the sums, counted from Unix time 0."""
    return connection.scalar(select(rolled_up.c.until)) or 0


def late(
    connection: Connection, new: Sequence[Exchange], changed: Sequence[str], now: float
) -> list[str]:
    """The ids of exchanges that may be in the sums at Unix time ``now``: of ``new`` ones, and of
    those that are there and ``changed``."""
    limit = now - LATE_S
    found = [exchange.id for exchange in new if exchange.created < limit]
    if changed:
        query = select(exchanges.c.id).where(
            exchanges.c.id.in_(changed), exchanges.c.created < limit
        )
        found += connection.scalars(query)
    return found


@contextmanager
def corrected(connection: Connection, identifiers: Sequence[str]) -> Generator[None]:
    """Keep the sums right while late exchanges are added or changed in the transaction."""
    if not identifiers:
        yield
        return
    _add_state(connection)
    # From here on nobody else sums up or corrects until this transaction has ended.
    connection.execute(update(rolled_up).values(late=rolled_up.c.late + 1))
    summed = exchanges.c.created < summed_until(connection) * HOUR_S
    which = (exchanges.c.id.in_(identifiers), summed)
    before = _groups(connection, *which)
    yield
    after = _groups(connection, *which)
    _add(connection, before, sign=-1)
    _add(connection, after, sign=1)


def _take_back(connection: Connection, now: float, settled: int) -> None:
    """Take the hours from ``settled`` on out of the sums where these go as far as what is not late
    at Unix time ``now``: a clock was ahead, and who writes now does not correct them."""
    until = summed_until(connection)
    if until * HOUR_S <= now - LATE_S:
        return
    back = update(rolled_up).where(rolled_up.c.until == until)
    if connection.execute(back.values(until=settled, late=rolled_up.c.late + 1)).rowcount == 0:
        return
    early = hourly_sums.c.hour >= settled
    _add(connection, connection.execute(select(hourly_sums).where(early)).all(), sign=-1)
    connection.execute(delete(hourly_sums).where(early))
    days = daily_sums.c.day >= settled // DAY_H
    connection.execute(delete(daily_sums).where(days, daily_sums.c.requests == 0))


def _step(engine: Engine, settled: int) -> bool:
    """Sum up the next hours. False where there are none left before the hour ``settled``, or where
    somebody else was at it: the sums are right in any case, and what is not in them can wait."""
    with engine.connect() as connection:
        until, corrections = connection.execute(select(rolled_up.c.until, rolled_up.c.late)).one()
        # What is written between here and the end changes the number of corrections.
        first = connection.scalar(
            select(func.min(exchanges.c.created)).where(
                exchanges.c.created >= until * HOUR_S, exchanges.c.created < settled * HOUR_S
            )
        )
        start = settled if first is None else int(first) // HOUR_S
        end = min(start + _MOST_HOURS, settled)
        if end <= until:
            return False
        groups = _groups(
            connection,
            exchanges.c.created >= start * HOUR_S,
            exchanges.c.created < end * HOUR_S,
        )
    with engine.begin() as connection:
        unchanged = update(rolled_up).where(
            rolled_up.c.until == until, rolled_up.c.late == corrections
        )
        mine = connection.execute(unchanged.values(until=end)).rowcount > 0
        if mine:
            _add(connection, groups, sign=1)
    return mine


def _add_state(connection: Connection) -> None:
    if connection.scalar(select(func.count()).select_from(rolled_up)) == 0:
        first = {"id": 1, "until": 0, "late": 0}
        connection.execute(upsert(connection, rolled_up).on_conflict_do_nothing(), first)


def _groups(connection: Connection, *which: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """The sums of some exchanges by the hour."""
    of = exchanges.c
    dimensions = (HOUR.label("hour"), of.task, of.route, of.model, KEY.label("key"))
    query: Select[Any] = select(*dimensions, *MEASURES).where(*which, REQUESTS)
    return connection.execute(query.group_by(HOUR, of.task, of.route, of.model, KEY)).all()


def _add(connection: Connection, groups: Sequence[Row[Any]], sign: int) -> None:
    """Add sums of hours to what is there, or take them off."""
    if not groups:
        return
    hours = [
        {**group._mapping, **{name: sign * getattr(group, name) for name in _NAMES}}
        for group in groups
    ]
    connection.execute(_addition(connection, hourly_sums, "hour"), hours)
    days: dict[tuple[Any, ...], dict[str, Any]] = {}
    for hour in hours:
        day = hour["hour"] // DAY_H
        group = (day, *(hour[name] for name in _GROUP))
        total = days.setdefault(group, {"day": day, **{name: hour[name] for name in _GROUP}})
        for name in _NAMES:
            total[name] = total.get(name, 0) + hour[name]
    connection.execute(_addition(connection, daily_sums, "day"), list(days.values()))


def _addition(connection: Connection, table: Table, period: str) -> Any:
    """An INSERT that adds to the row that is there already."""
    names = (period, *_GROUP, *_NAMES)
    statement = upsert(connection, table).values({name: bindparam(name) for name in names})
    return statement.on_conflict_do_update(
        index_elements=[period, *_GROUP],
        set_={name: table.c[name] + statement.excluded[name] for name in _NAMES},
    )
