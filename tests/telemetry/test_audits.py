"""Audits by the block, in the order in which they were recorded."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import event

from telemetry.audits import BLOCK, NO_AUDITS, AuditTally, add, blocks_by_version
from telemetry.exchange import Exchange, TaskState
from telemetry.quality import InService, in_service
from telemetry.store import Audit, Store
from tests.telemetry.test_store import exchange, student


def sure(identifier: str, version: str = "v1", **more: Any) -> Exchange:
    usual = {"route": "student", "student": version, "reason": "student_confident"}
    return exchange(identifier, **{**usual, "teacher_answer": None, **more})


def audit(identifier: str, agreed: bool, audited: float | None) -> Audit:
    return Audit(identifier, None, agreed, 1, audited=audited)


def blocks(agreed: list[bool]) -> list[AuditTally]:
    built: list[AuditTally] = []
    for each in agreed:
        add(built, each)
    return built


def test_a_student_without_audits(store: Store) -> None:
    store.write([sure("e")])
    assert store.audit_blocks("v1") == NO_AUDITS
    assert blocks_by_version(store.engine, []) == {}


def test_what_an_audit_found_and_when(store: Store) -> None:
    store.write([sure("e", stratum="long tail")], [audit("e", False, 123.5)])
    kept = store.exchange("e")
    assert kept is not None
    assert (kept.stratum, kept.agreed, kept.audited) == ("long tail", False, 123.5)


def test_audits_count_in_the_order_that_they_were_recorded_in(store: Store) -> None:
    """Not in that of their requests: two audits are late, two recorded at the same time, and some
    were made before anybody wrote down when."""
    rng = random.Random(1)
    count = 3 * BLOCK + 7
    agreed = [rng.random() < 0.7 for _ in range(count)]
    created = [float(number) for number in range(count)]
    audited = [None if number < 10 else 1000.0 + number for number in range(count)]
    # The first two requests with a time are audited last, and another two at once.
    audited[10], audited[11] = 5000.0, 5001.0
    audited[60] = audited[61] = 1060.0
    created[60], created[61] = 61.0, 60.0
    order = sorted(
        range(count),
        key=lambda number: (audited[number] or 0.0, created[number], f"e{number:03}"),
    )
    assert order[:10] == list(range(10))
    assert order[-2:] == [10, 11]
    assert order.index(61) < order.index(60)
    numbers = list(range(count))
    rng.shuffle(numbers)
    for number in numbers:
        one = f"e{number:03}"
        store.write(
            [sure(one, created=created[number])], [audit(one, agreed[number], audited[number])]
        )
    seen = store.audit_blocks("v1")
    assert seen.whole == blocks([agreed[number] for number in order])
    assert [block.audits for block in seen.whole] == [BLOCK, BLOCK, BLOCK, 7]
    assert seen.by_stratum == {}


def test_each_stratum_has_blocks_of_its_own(store: Store) -> None:
    rng = random.Random(2)
    strata = [rng.choice(["a", "b", None]) for _ in range(4 * BLOCK)]
    agreed = [rng.random() < 0.7 for _ in strata]
    for number, stratum in enumerate(strata):
        one = f"e{number:03}"
        store.write(
            [sure(one, created=float(number), stratum=stratum)],
            [audit(one, agreed[number], float(number))],
        )
    seen = store.audit_blocks("v1")
    assert seen.whole == blocks(agreed)
    assert seen.by_stratum == {
        name: blocks([one for one, at in zip(agreed, strata, strict=True) if at == name])
        for name in ("a", "b")
    }


def test_only_what_is_promised_counts(store: Store) -> None:
    store.write([sure("sure"), sure("forced", reason="forced"), sure("other", "v2")])
    store.write([], [audit(one, False, 1.0) for one in ("sure", "forced", "other")])
    seen = blocks_by_version(store.engine, ["v1", "v2", "v3"])
    assert {version: each.total for version, each in seen.items()} == {
        "v1": AuditTally(1, 1),
        "v2": AuditTally(1, 1),
    }


def test_students_in_service_and_their_audits(store: Store) -> None:
    store.roster.close_run(TaskState("t"), student("v1"))
    store.roster.close_run(TaskState("u"), student("u1", task="u"))
    store.roster.close_run(TaskState("w"), student("w1", task="w", serving=False))
    store.write([sure("e")], [audit("e", True, 1.0)])
    assert in_service(store.engine, {}) == [
        InService("t", "v1", 1.0, store.audit_blocks("v1")),
        InService("u", "u1", 1.0, NO_AUDITS),
    ]


def test_audits_are_put_in_order_again_where_there_are_others(store: Store) -> None:
    store.roster.close_run(TaskState("t"), student("v1"))
    store.write([sure("e"), sure("f")], [audit("e", True, 1.0)])
    (before,) = in_service(store.engine, {})
    asked: list[str] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        asked.append(statement)

    known = {"v1": before.audits}
    assert in_service(store.engine, known) == [before]
    assert not any("row_number" in statement for statement in asked)
    store.write([], [audit("f", False, 2.0)])
    (after,) = in_service(store.engine, known)
    assert after.audits == store.audit_blocks("v1")
    assert after.audits.total == AuditTally(2, 1)


def test_they_are_counted_in_an_index_alone(store: Store) -> None:
    if store.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL decides by the size of the table")
    plans: list[str] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def note(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if statement.startswith("SELECT"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append(" ".join(row[-1] for row in cursor.fetchall()))

    store.audit_blocks("v1")
    assert all("COVERING INDEX exchanges_audits" in plan for plan in plans), plans
    # All of them are in their order there.
    assert "ORDER BY" not in plans[0]
