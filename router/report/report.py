"""The figures of a report, as they are read from the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from config.settings import PolicySettings
from policies.promise import interval
from router.report.estimate import Estimate, saved
from telemetry.exchange import PICO
from telemetry.figures import Sum, sums
from telemetry.keys import Keys
from telemetry.store import Store

By = Literal["task", "key", "model", "day", "route"]

_REPLAY = "replay-of-"
"""What the model of a demo's teacher begins with that answers from a recording."""


@dataclass(frozen=True, slots=True)
class Line:
    """One group's figures, or all groups'. Money is in USD."""

    name: str
    requests: int
    errors: int
    by_student: int
    spent: float
    """On answers, audits and tryouts."""
    audit_cost: float
    """The part of that for audits,"""
    tryout_cost: float
    """and for tryouts of hosted models."""
    teacher_only: float
    """What the teacher alone costs, as it was booked."""
    saved: float
    """As it was booked."""
    corrected: Estimate | None
    """What was saved, corrected by audits; None where they are too few."""
    audits: int
    """Of the answers that the promise covers."""
    disagreements: int
    agreement_interval: tuple[float, float] | None
    """Where agreement lies, as the metrics have it; None without audits."""

    @property
    def student_share(self) -> float:
        return self.by_student / self.requests if self.requests else 0.0

    @property
    def saved_share(self) -> float:
        """Of what the teacher alone costs."""
        return self.saved / self.teacher_only if self.teacher_only else 0.0

    @property
    def agreement(self) -> float | None:
        """Share of audited answers that the teacher agreed with; None without audits."""
        return 1 - self.disagreements / self.audits if self.audits else None


@dataclass(frozen=True, slots=True)
class Report:
    """All that there is to show."""

    since: float
    """Unix time,"""
    until: float
    """and before this one."""
    by: By
    promise: float
    """Share of students' answers that agree with the teacher, at least."""
    level: float
    """Confidence of the promise and of all intervals."""
    teachers: tuple[str, ...]
    """Models that answered as the teacher, the busiest first."""
    lines: tuple[Line, ...]
    """Days in their order; all else by what was spent."""
    days: tuple[Line, ...]
    total: Line

    @property
    def replayed(self) -> bool:
        """Whether the teacher was a recording, and nobody was paid."""
        return any(name.startswith(_REPLAY) for name in self.teachers)


def read(store: Store, since: float, until: float, by: By, promised: PolicySettings) -> Report:
    """The report on exchanges from Unix time ``since`` to before ``until``. Blocks."""
    delta = promised.delta
    days = [_line(each.group[0], each, delta) for each in sums(store.engine, since, until, ["day"])]
    lines = days
    if by != "day":
        found = sums(store.engine, since, until, [by])
        lines = [_line(each.group[0], each, delta) for each in found]
        lines.sort(key=lambda line: (-line.spent, line.name))
    if by == "key":
        lines = _with_names(lines, store)
    total = sums(store.engine, since, until)
    return Report(
        since=since,
        until=until,
        by=by,
        promise=1 - promised.alpha,
        level=1 - delta,
        teachers=_teachers(store, since, until),
        lines=tuple(lines),
        days=tuple(days),
        total=_line("all", total[0], delta) if total else _NOTHING,
    )


def _line(name: str, found: Sum, delta: float) -> Line:
    audits, disagreements = found.promised_audits, found.promised_disagreements
    low, high = interval(audits, disagreements, delta) if audits else (0.0, 1.0)
    return Line(
        name=name,
        requests=found.requests,
        errors=found.errors,
        by_student=found.by_student,
        spent=(found.cost + found.audit_cost + found.tryout_cost) / PICO,
        audit_cost=found.audit_cost / PICO,
        tryout_cost=found.tryout_cost / PICO,
        teacher_only=found.teacher_cost / PICO,
        saved=found.saved / PICO,
        corrected=saved(found, 1 - delta),
        audits=audits,
        disagreements=disagreements,
        agreement_interval=(1 - high, 1 - low) if audits else None,
    )


_NOTHING = Line("all", 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, None, 0, 0, None)


def _with_names(lines: list[Line], store: Store) -> list[Line]:
    """Keys by their names, with their ids, which tell keys of one name apart."""
    names = {key.id: f"{key.name} ({key.id})" for key in Keys(store).all()}
    return [replace(line, name=names.get(line.name, line.name or "no key")) for line in lines]


def _teachers(store: Store, since: float, until: float) -> tuple[str, ...]:
    by_model = sums(store.engine, since, until, ["route", "model"])
    found = [each for each in by_model if each.group[0] == "teacher"]
    return tuple(each.group[1] for each in sorted(found, key=lambda each: -each.requests))


def as_json(report: Report) -> dict[str, Any]:
    """All figures; times are Unix times, money is in USD."""
    return {
        "since": report.since,
        "until": report.until,
        "by": report.by,
        "teachers": list(report.teachers),
        "replayed_teacher": report.replayed,
        "promised_agreement": report.promise,
        "confidence": report.level,
        "total": fields(report.total),
        "lines": [fields(line) for line in report.lines],
    }


def fields(line: Line) -> dict[str, Any]:
    """The figures of a line by the names that they have in JSON and CSV."""
    corrected, agreed = line.corrected, line.agreement_interval
    return {
        "name": line.name,
        "requests": line.requests,
        "errors": line.errors,
        "by_student": line.by_student,
        "spent_usd": line.spent,
        "audit_cost_usd": line.audit_cost,
        "tryout_cost_usd": line.tryout_cost,
        "teacher_only_usd": line.teacher_only,
        "saved_usd": line.saved,
        "saved_corrected_usd": corrected.usd if corrected else None,
        "saved_low_usd": corrected.low if corrected else None,
        "saved_high_usd": corrected.high if corrected else None,
        "audits": line.audits,
        "disagreements": line.disagreements,
        "agreement": line.agreement,
        "agreement_low": agreed[0] if agreed else None,
        "agreement_high": agreed[1] if agreed else None,
    }
