"""What audits have shown of students, in the order in which they were recorded. All functions
block.

They are counted by the block, in the database: a student that has served for years has had more of
them than anybody wants to fetch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Engine, Integer, Select, cast, func, select

from telemetry.schema import exchanges

BLOCK = 25
"""Audits that are counted together."""


@dataclass(frozen=True, slots=True)
class AuditTally:
    """Audited answers of one student, and how many of them the teacher contradicted."""

    audits: int
    disagreements: int


Blocks = Sequence[AuditTally]
"""Audits in order, oldest first: ``BLOCK`` in each block, and in the last what is left."""


@dataclass(frozen=True, slots=True)
class AuditBlocks:
    """The audits of one student."""

    whole: Blocks = ()
    """All of them."""
    by_stratum: Mapping[str, Blocks] = field(default_factory=dict)
    """Those of each slice that must keep the promise on its own."""

    @property
    def total(self) -> AuditTally:
        return AuditTally(
            sum(block.audits for block in self.whole),
            sum(block.disagreements for block in self.whole),
        )


NO_AUDITS = AuditBlocks()


def add(blocks: list[AuditTally], agreed: bool) -> None:
    """Take one more audit to those before it."""
    if not blocks or blocks[-1].audits == BLOCK:
        blocks.append(AuditTally(0, 0))
    last = blocks[-1]
    blocks[-1] = AuditTally(last.audits + 1, last.disagreements + (not agreed))


def tallies(engine: Engine, versions: Sequence[str]) -> dict[str, AuditTally]:
    """How many audits of these students there are; whoever has none is left out."""
    of = exchanges.c
    disagreements = func.sum(1 - cast(of.agreed, Integer))
    query = select(of.student, func.count(), disagreements).where(*_promised(versions))
    with engine.connect() as connection:
        rows = connection.execute(query.group_by(of.student)).all()
    return {version: AuditTally(*counts) for version, *counts in rows}


def _promised(versions: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    """Audits of what a student answered because it was sure: nothing else is promised."""
    of = exchanges.c
    return of.student.in_(versions), of.agreed.is_not(None), of.reason == "student_confident"


def blocks_by_version(engine: Engine, versions: Sequence[str]) -> dict[str, AuditBlocks]:
    """The audits of these students; whoever has none is left out."""
    if not versions:
        return {}
    of = exchanges.c
    ours = _promised(versions)
    with engine.connect() as connection:
        every = connection.execute(_blocks(["student"], *ours)).all()
        parts = connection.execute(
            _blocks(["student", "stratum"], *ours, of.stratum.is_not(None))
        ).all()
    whole: dict[str, list[AuditTally]] = {}
    for version, *counts in every:
        whole.setdefault(version, []).append(AuditTally(*counts))
    strata: dict[str, dict[str, list[AuditTally]]] = {}
    for version, stratum, *counts in parts:
        blocks = strata.setdefault(version, {}).setdefault(stratum, [])
        blocks.append(AuditTally(*counts))
    return {
        version: AuditBlocks(blocks, strata.get(version, {})) for version, blocks in whole.items()
    }


def _blocks(groups: Sequence[str], *which: ColumnElement[bool]) -> Select[Any]:
    """The blocks in order, for each group of audits alike in some columns: these columns, audits
    and disagreements."""
    of = exchanges.c
    by = [of[name] for name in groups]
    # Those from before the time of an audit was written down come first, as their requests came.
    order = (of.audited.nulls_first(), of.created, of.id)
    place = func.row_number(type_=Integer).over(partition_by=by, order_by=order)
    block = ((place - 1) // BLOCK).label("block")
    audits = select(*by, of.agreed, block).where(*which).subquery().c
    disagreements = func.sum(1 - cast(audits.agreed, Integer))
    grouped = [audits[name] for name in groups]
    query = select(*grouped, func.count(), disagreements).group_by(*grouped, audits.block)
    return query.order_by(*grouped, audits.block)
