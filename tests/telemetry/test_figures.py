"""Sums of exchanges, against the same sums made by hand."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry.exchange import PICO, Exchange
from telemetry.figures import Dimension, Sum, sums, together
from telemetry.store import Store
from tests.telemetry.test_store import exchange

START = 1_700_000_400.0
"""Not at the start of an hour."""
HOUR = 1_699_999_200
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

rows: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    created=st.floats(HOUR - 1, HOUR + 3 * 86400)
    | st.integers(0, 40).map(lambda hours: float(HOUR + 3600 * hours))
    | st.integers(0, 40).map(lambda hours: math.nextafter(HOUR + 3600 * hours, 0)),
    task=st.sampled_from(["a", "b"]),
    route=st.sampled_from(["teacher", "student", "model"]),
    model=st.sampled_from(["m", "n"]),
    key=st.sampled_from([None, "k1"]),
    reason=st.sampled_from(["student_confident", "forced"]),
    status=st.sampled_from([200, 200, 429, 502]),
    error=st.sampled_from([None, None, "upstream_broken"]),
    agreed=st.none() | st.booleans(),
    prompt_tokens=st.integers(0, 2**31 - 1),
    completion_tokens=st.integers(0, 2**31 - 1),
    cost=st.integers(0, 10**13),
    teacher_cost=st.integers(0, 10**13),
    audit_cost=st.sampled_from([0, 1, 10**13]),
    tryout_cost=st.sampled_from([0, 1, 10**12]),
    latency_s=st.floats(0, 1e3),
)


def value(row: Exchange, dimension: Dimension) -> str:
    moment = datetime.fromtimestamp(math.floor(row.created), UTC)
    match dimension:
        case "day":
            return moment.strftime("%Y-%m-%d")
        case "hour":
            return moment.strftime("%Y-%m-%dT%H:00:00Z")
        case "key":
            return row.key or ""
        case _:
            return str(getattr(row, dimension))


def by_hand(found: Sequence[Exchange], by: Sequence[Dimension]) -> dict[tuple[str, ...], Any]:
    groups: dict[tuple[str, ...], list[Exchange]] = defaultdict(list)
    for row in found:
        groups[tuple(value(row, dimension) for dimension in by)].append(row)
    return {group: _by_hand(members) for group, members in groups.items()}


def _by_hand(members: list[Exchange]) -> dict[str, Any]:
    audited = [row for row in members if row.agreed is not None]
    promised = [row for row in audited if row.reason == "student_confident"]
    # What the teacher took is known even if it gave no answer to compare.
    pairs = [row for row in members if row.route == "student" and row.audit_cost]
    usd = [(Fraction(row.teacher_cost, PICO), Fraction(row.audit_cost, PICO)) for row in pairs]
    student = [row for row in members if row.route == "student"]
    exact = {
        "requests": len(members),
        "errors": sum(row.status >= 400 or row.error is not None for row in members),
        "by_student": len(student),
        "audits": len(audited),
        "disagreements": sum(row.agreed is False for row in audited),
        "promised_audits": len(promised),
        "promised_disagreements": sum(row.agreed is False for row in promised),
        "student_teacher_cost": sum(row.teacher_cost for row in student),
        "pairs": len(pairs),
        "pair_teacher_cost": sum(row.teacher_cost for row in pairs),
        "pair_audit_cost": sum(row.audit_cost for row in pairs),
    }
    tokens, costs = ("prompt_tokens", "completion_tokens"), ("cost", "teacher_cost")
    for name in (*tokens, *costs, "audit_cost", "tryout_cost"):
        exact[name] = sum(getattr(row, name) for row in members)
    return {
        **exact,
        "predicted_squared": pytest.approx(float(sum(x * x for x, _ in usd))),
        "real_squared": pytest.approx(float(sum(y * y for _, y in usd))),
        "predicted_times_real": pytest.approx(float(sum(x * y for x, y in usd))),
        "latency_s": pytest.approx(math.fsum(row.latency_s for row in members)),
    }


def as_dict(found: Sequence[Sum]) -> dict[tuple[str, ...], Any]:
    return {
        each.group: {name: getattr(each, name) for name in Sum.__slots__ if name != "group"}
        for each in found
    }


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(
    made=st.lists(rows, max_size=12),
    by=st.lists(st.sampled_from(DIMENSIONS), unique=True),
    since=st.sampled_from([0.0, START, float(HOUR), HOUR + 86400.0]),
    until=st.sampled_from([START + 1, HOUR + 7200.0, 4e9]),
)
def test_sums_of_any_grouping(
    store: Store, made: list[dict[str, Any]], by: list[Dimension], since: float, until: float
) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM exchanges")
    all_ = [exchange(str(number), **row) for number, row in enumerate(made)]
    store.write(all_)
    found = sums(store.engine, since, until, by)
    assert [each.group for each in found] == sorted(each.group for each in found)
    within = [row for row in all_ if since <= row.created < until]
    assert as_dict(found) == by_hand(within, by)


def test_what_was_saved(store: Store) -> None:
    store.write(
        [
            exchange("a", cost=5, teacher_cost=5),
            exchange("b", route="student", cost=1, teacher_cost=7, audit_cost=8, agreed=True),
        ]
    )
    (both,) = sums(store.engine, 0, 1e10)
    assert both.saved == -2
    assert [each.saved for each in sums(store.engine, 0, 1e10, ["route"])] == [-2, 0]


def test_sums_of_groups_together_are_those_of_all(store: Store) -> None:
    store.write([exchange(str(n), task=f"t{n}", cost=n, latency_s=0.5) for n in range(3)])
    assert together(sums(store.engine, 0, 1e10, ["task"])) == sums(store.engine, 0, 1e10)[0]
    assert together([]) is None


def test_no_exchanges(store: Store) -> None:
    assert sums(store.engine, 0, 1e10) == []
    assert sums(store.engine, 0, 1e10, ["task"]) == []
