"""What is known of past requests, as arrays: who answered, and what either would have given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from policies.agreement import agree
from policies.policy import Options, Policy
from policies.scores import RouteScore
from telemetry.past import Past

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_BATCH = 5_000
_SCORED = tuple(field.name for field in fields(RouteScore))

_BROKEN = frozenset({"stop", "max_tokens", "response_format"})
"""Rules that no student answer may break: the student was asked, but could not have answered."""


class _Row(NamedTuple):
    """One request, in the order of the history's arrays."""

    task: int
    student: int
    able: bool
    chance: float
    served: bool
    confidence: float
    threshold: float
    propensity: float
    wrong: float
    cost: int
    audit_cost: int
    teacher_cost: float
    teacher_expected: int
    student_cost: float
    latency: float
    teacher_latency: float
    teacher_expected_s: float
    student_expected_s: float


@dataclass(frozen=True, slots=True)
class History:
    """n requests in order of time, each array [n]. Costs are in picodollars, times in seconds; NaN
    is unknown."""

    task: Floats
    """Number of the task in ``tasks``."""
    student: Floats
    """Number of the student's version in ``students``."""
    able: Floats
    """1 where a student could have answered."""
    chance: Floats
    """Probability with which the policy that is asked about has the student answer."""
    served: Floats
    """1 where a student answered."""
    confidence: Floats
    """The student's probability of agreement."""
    threshold: Floats
    """The one in force."""
    propensity: Floats
    """Probability that the teacher's answer was to be had, of all that was known when the route was
    chosen: above 0. Nothing else decides whether the teacher's figures below are known, but for
    audits that failed."""
    wrong: Floats
    """1 where the student's answer is not the teacher's, 0 where it is; NaN where nobody knows:
    where the teacher's was cut off or filtered, and of a hosted student that did not serve."""
    cost: Floats
    """Of the caller's answer."""
    audit_cost: Floats
    teacher_cost: Floats
    teacher_expected: Floats
    """The cost that was expected of the teacher."""
    student_cost: Floats
    latency: Floats
    """Of the caller's answer."""
    teacher_latency: Floats
    teacher_expected_s: Floats
    student_expected_s: Floats
    tasks: tuple[str, ...]
    students: tuple[str, ...]
    left_out: Mapping[str, int]
    """How many exchanges were not taken, by reason."""

    def __len__(self) -> int:
        return len(self.task)

    def part(self, which: Bools) -> History:
        """The requests of which ``which`` [n] is true."""
        arrays = {name: getattr(self, name)[which] for name in _Row._fields}
        return replace(self, **arrays)


class _Names:
    """Numbers for names, in order of their appearance."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(self._numbers)


def read(exchanges: Iterable[Past], policy: Policy) -> History:
    """The history of ``exchanges``, with what ``policy`` would have chosen.

    Left out are exchanges in which no policy chose (``forced``), that failed (``failed``), whose
    texts are not in the store (``private``), in which the student stood in for the teacher that had
    been chosen (``fallback``), and whose teacher answer was not to be had at all (``unpaid``).
    """
    tasks, students = _Names(), _Names()
    left_out: Counter[str] = Counter()
    chunks: list[Floats] = []
    rows: list[_Row] = []
    for exchange in exchanges:
        decision: dict[str, Any] = orjson.loads(exchange.decision or "{}")
        reason = _why_not(exchange, decision)
        if reason is not None:
            left_out[reason] += 1
            continue
        student = students.number(exchange.student or "")
        rows.append(_row(exchange, decision, policy, tasks.number(exchange.task), student))
        if len(rows) == _BATCH:
            chunks.append(np.array(rows, dtype=np.float64))
            rows = []
    chunks.append(np.array(rows, dtype=np.float64).reshape(len(rows), len(_Row._fields)))
    arrays: dict[str, Any] = dict(zip(_Row._fields, np.concatenate(chunks).T, strict=True))
    return History(**arrays, tasks=tasks.all, students=students.all, left_out=dict(left_out))


def _why_not(exchange: Past, decision: dict[str, Any]) -> str | None:
    if not decision or exchange.propensity is None:
        return "forced"
    if exchange.status != 200 or exchange.finish_reason is None:
        return "failed"
    if not exchange.kept:
        return "private"
    if exchange.route != decision["route"]:
        return "fallback"
    return None if exchange.propensity else "unpaid"


def _row(exchange: Past, decision: dict[str, Any], policy: Policy, task: int, student: int) -> _Row:
    served = exchange.route == "student"
    teacher = _score(decision["teacher"])
    score = _score(decision["student"]) if decision["student"] else None
    able = score is not None and decision["reason"] not in _BROKEN
    chance = 0.0
    if score is not None and able:
        chance = policy.choose(Options(teacher, score, decision["threshold"])).student
    audited = exchange.audit_latency_s is not None
    propensity = exchange.propensity
    return _Row(
        task=task,
        student=student,
        able=able,
        chance=chance,
        served=served,
        confidence=score.agreement if score else np.nan,
        threshold=decision["threshold"],
        propensity=np.nan if propensity is None else propensity,
        wrong=_wrong(exchange, served) if able else np.nan,
        cost=exchange.cost,
        audit_cost=exchange.audit_cost,
        teacher_cost=(exchange.audit_cost if audited else np.nan) if served else exchange.cost,
        teacher_expected=teacher.cost,
        student_cost=exchange.cost if served else score.cost if score else 0.0,
        latency=exchange.latency_s,
        teacher_latency=_seconds(exchange.audit_latency_s) if served else exchange.latency_s,
        teacher_expected_s=teacher.latency_s,
        student_expected_s=score.latency_s if score else np.nan,
    )


def _score(said: Mapping[str, Any]) -> RouteScore:
    """What was written down of a score, by whichever version of the router."""
    return RouteScore(**{name: said[name] for name in _SCORED if name in said})


def _wrong(exchange: Past, served: bool) -> float:
    """1 where the student's answer is not the teacher's, 0 where it is; NaN where one of them is
    unknown, as a hosted student's is where it does not serve."""
    if served:
        return np.nan if exchange.agreed is None else float(not exchange.agreed)
    if exchange.student_answer is None:
        return np.nan
    if exchange.finish_reason != "stop" or exchange.teacher_answer is None:
        # As audits have it: with what was cut off or filtered there is nothing to agree.
        return np.nan
    return float(not agree(exchange.student_answer, exchange.teacher_answer))


def _seconds(seconds: float | None) -> float:
    return np.nan if seconds is None else seconds
