"""What the product's own store says of the run: costs, audits and students."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import and_, func, not_, select

from distill import registry
from policies.agreement import agree
from router.demo.drive import Reply
from router.demo.replay import REPLAYED
from router.demo.report import Outcome
from router.tokens import usage_of
from telemetry.exchange import PICO, StudentRecord, TaskState
from telemetry.prices import Price, Prices
from telemetry.schema import ANSWERED, exchanges
from telemetry.store import Store


@dataclass(frozen=True, slots=True)
class Ledger:
    """Read once, when the run is over."""

    rows: Mapping[str, Any]
    """Cost, teacher_cost, audit_cost and agreed by exchange."""
    students: list[StudentRecord]

    @classmethod
    def read(cls, data: Path) -> Ledger:
        store = Store(data)
        columns = exchanges.c
        query = select(
            columns.id, columns.cost, columns.teacher_cost, columns.audit_cost, columns.agreed
        )
        with store.engine.connect() as connection:
            rows = {row.id: row for row in connection.execute(query)}
        students = [
            student
            for task in store.roster.task_states()
            for student in store.roster.students(task)
        ]
        store.close()
        return cls(rows, students)

    @property
    def audit_cost_usd(self) -> float:
        """Of all audits."""
        return sum(int(row.audit_cost) for row in self.rows.values()) / PICO

    def error(self, reply: Reply) -> str | None:
        """Why ``reply`` counts as failed: also where its answer is not in the store."""
        if reply.error is None and reply.exchange not in self.rows:
            return "an answer was received that is not in the store"
        return reply.error

    def students_in_words(self) -> str:
        passed = sum(
            registry.untested(student, TaskState(student.task)) is None for student in self.students
        )
        serving = sum(student.serving for student in self.students)
        coming = sum(student.stage is not None for student in self.students)
        on_their_way = f", {coming} {'is' if coming == 1 else 'are'} on the way there"
        return (
            f"{len(self.students)} training runs: {passed} students passed their test; "
            f"{serving} serve at the end{on_their_way if coming else ''}"
        )

    def outcome(self, reply: Reply, replayed: bool) -> Outcome:
        """``reply`` with its costs. A replay makes known what the teacher would have said and
        charged; a real teacher has said it only where it answered or audited."""
        row = self.rows[reply.exchange]
        served = reply.route == "student"
        agreed, teacher_cost = row.agreed, row.teacher_cost
        if served and replayed:
            agreed = agree(reply.text, reply.sample.answer)
            teacher_cost = _replay_price().cost(
                usage_of(reply.sample.messages, reply.sample.answer)
            )
        return Outcome(
            task=reply.sample.task,
            route=reply.route,
            agreed=agreed if served else None,
            cost=row.cost + row.audit_cost,
            teacher_cost=teacher_cost,
            latency_s=reply.latency_s,
            at_s=reply.at_s,
        )


def _replay_price() -> Price:
    price = Prices({}).of(REPLAYED)
    if price is None:
        raise LookupError(f"no price of {REPLAYED}")
    return price


def audits_due(data: Path) -> int:
    """Student answers whose audit is not in yet."""
    store = Store(data)
    columns = exchanges.c
    waiting = and_(columns.route == "student", columns.sampled, not_(ANSWERED))
    with store.engine.connect() as connection:
        due = connection.execute(select(func.count()).where(waiting)).scalar_one()
    store.close()
    return int(due)
