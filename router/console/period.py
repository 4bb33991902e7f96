"""The time that a page looks back on, in slots of hours or days (UTC)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Literal

from policies.promise import interval
from router.console.charts import Audited, Counted, Series
from router.report.estimate import saved
from telemetry.exchange import PICO
from telemetry.figures import Sum, together

CHOICES = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
DEFAULT = "30d"

_HOUR_S, _DAY_S = 3600, 86400


@dataclass(frozen=True, slots=True)
class Period:
    """Whole slots, the last of which is the one under way."""

    name: str
    slot: Literal["hour", "day"]
    since: float
    """Unix times."""
    until: float
    slots: tuple[str, ...]
    """As ``telemetry.figures`` names them."""

    @classmethod
    def of(cls, name: str, now: float | None = None) -> Period:
        """The one that a visitor chose, or else the usual one."""
        name = name if name in CHOICES else DEFAULT
        now = time.time() if now is None else now
        hours = name.endswith("h")
        size, number = (_HOUR_S if hours else _DAY_S), int(name[:-1])
        last = now // size * size
        starts = [last - size * back for back in reversed(range(number))]
        form = "%Y-%m-%dT%H:00:00Z" if hours else "%Y-%m-%d"
        slots = tuple(datetime.fromtimestamp(start, UTC).strftime(form) for start in starts)
        return cls(name, "hour" if hours else "day", starts[0], last + size, slots)

    @property
    def in_words(self) -> str:
        return f"last {CHOICES[self.name]}"

    @property
    def labels(self) -> tuple[str, ...]:
        """Short names of the slots, for charts."""
        if self.slot == "hour":
            return tuple(slot[11:16] for slot in self.slots)
        return tuple(f"{datetime.fromisoformat(slot):%b} {int(slot[8:])}" for slot in self.slots)


@dataclass(frozen=True, slots=True)
class Total:
    """Sums added up. Money is in picodollars."""

    requests: int = 0
    errors: int = 0
    by_student: int = 0
    audits: int = 0
    disagreements: int = 0
    cost: int = 0
    teacher_cost: int = 0
    audit_cost: int = 0
    tryout_cost: int = 0
    latency_s: float = 0.0

    @classmethod
    def of(cls, sums: Iterable[Sum]) -> Total:
        every = list(sums)
        return cls(
            sum(each.requests for each in every),
            sum(each.errors for each in every),
            sum(each.by_student for each in every),
            sum(each.promised_audits for each in every),
            sum(each.promised_disagreements for each in every),
            sum(each.cost for each in every),
            sum(each.teacher_cost for each in every),
            sum(each.audit_cost for each in every),
            sum(each.tryout_cost for each in every),
            sum(each.latency_s for each in every),
        )

    def plus(self, other: Total) -> Total:
        """Both together."""
        return Total(
            *(ours + theirs for ours, theirs in zip(astuple(self), astuple(other), strict=True))
        )

    @property
    def spent(self) -> int:
        return self.cost + self.audit_cost + self.tryout_cost

    @property
    def saved(self) -> int:
        return self.teacher_cost - self.spent

    @property
    def saved_share(self) -> float | None:
        return self.saved / self.teacher_cost if self.teacher_cost else None

    @property
    def student_share(self) -> float | None:
        return self.by_student / self.requests if self.requests else None

    @property
    def error_share(self) -> float | None:
        return self.errors / self.requests if self.requests else None

    def agreement(self, delta: float) -> Counted | None:
        """The share of audited answers that agree, with its interval at confidence ``1 - delta``;
        None without any audit."""
        if not self.audits:
            return None
        low, high = interval(self.audits, self.disagreements, delta)
        return Counted(1 - self.disagreements / self.audits, 1 - high, 1 - low, self.audits)


@dataclass(frozen=True, slots=True)
class Course:
    """Sums of one period, slot by slot and route by route."""

    period: Period
    sums: Sequence[Sum]
    """Grouped by the period's slots and by route, in this order at the beginning."""

    def routes(self, route: str) -> list[Total]:
        """What one route came to in each slot."""
        return self._each([each for each in self.sums if each.group[1] == route])

    def totals(self) -> list[Total]:
        """What all came to in each slot."""
        return self._each(self.sums)

    def spending(self) -> tuple[list[Series], Series | None]:
        """What was spent on whom, and what the teacher alone would have cost, if anything."""
        totals = self.totals()
        parts = [
            Series(name, css, [total.cost for total in self.routes(route)])
            for route, name, css in ROUTES
        ]
        parts.append(Series("audits", "audits", [total.audit_cost for total in totals]))
        parts.append(Series("try-outs", "tryouts", [total.tryout_cost for total in totals]))
        shown = [part for part in parts if any(part.values)]
        alone = Series(
            "the teacher alone", "alone", [float(total.teacher_cost) for total in totals]
        )
        return shown, alone if any(alone.values) else None

    def likely_saved(self, confidence: float) -> tuple[float, float] | None:
        """The picodollars between which the saving lies with this confidence, by audits: what the
        teacher costs for students' answers is predicted. None where audits are too few."""
        found = together(self.sums)
        likely = saved(found, confidence) if found else None
        return (likely.low * PICO, likely.high * PICO) if likely else None

    def requests(self) -> list[Series]:
        """How many requests each route answered."""
        parts = [
            Series(name, css, [total.requests for total in self.routes(route)])
            for route, name, css in ROUTES
        ]
        return [part for part in parts if any(part.values)]

    def audited(self, delta: float) -> list[Audited]:
        """The audits of each slot. The intervals may be looked at after each, and all hold at once
        with confidence ``1 - delta``."""
        found, so_far = [], Total()
        for total in self.totals():
            so_far = so_far.plus(total)
            agreed = total.audits - total.disagreements
            found.append(Audited(agreed, total.audits, so_far.agreement(delta)))
        return found

    def _each(self, sums: Sequence[Sum]) -> list[Total]:
        by_slot: dict[str, list[Sum]] = {slot: [] for slot in self.period.slots}
        for each in sums:
            by_slot[each.group[0]].append(each)
        return [Total.of(group) for group in by_slot.values()]


ROUTES = (
    ("teacher", "teacher", "teacher"),
    ("student", "students", "student"),
    ("model", "models named by callers", "named"),
)
"""Routes, with their names and their classes in the style sheet."""
