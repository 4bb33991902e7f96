"""A student's card: what it learnt from, how it was tested, and what came of that.

It is kept as JSON in the store and beside the student's files, and read there by servers too, so
that nothing here takes a library of numbers. What cards of earlier versions lack has a default.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from policies.promise import Promise
from telemetry.exchange import StudentRecord

Standing = Literal["kept", "broken", "open"]
"""What a slice's interval says of the bound: all of it within, all of it beyond, or neither."""


@dataclass(frozen=True, slots=True)
class Consistency:
    """Answers for which the teacher was asked again, and what it said then."""

    asked: int
    agreed: int
    share: float
    """That agreed, each weighted by the requests it stands for: the ceiling of agreement."""
    low: float
    """Its interval at 95%, as a slice has it."""
    high: float


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """What a dataset is made of and what was left out. Times are ISO 8601 in UTC."""

    version: str | None = None
    answers: int | None = None
    evidence: int | None = None
    """How many of the answers a test can be made on."""
    from_: Annotated[str | None, Field(alias="from")] = None
    until: str | None = None
    teachers: Mapping[str, int] = field(default_factory=dict)
    """Answers by model, the most first; a former teacher's, which are left out, are not counted."""
    audits: int = 0
    imported: int = 0
    corrected: int = 0
    near_duplicates: int = 0
    not_learnt: Mapping[str, int] = field(default_factory=dict)
    """Answers by what is wrong with them,"""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """and those that are not in the dataset by reason."""
    consistency: Consistency | None = None
    """None where the teacher was never asked again."""
    private: Mapping[str, int] = field(default_factory=dict)
    """What was found of it, by kind."""
    masked: bool = False
    answers_by_label: Mapping[str, int] = field(default_factory=dict)
    other_answers: int = 0

    def as_json(self) -> dict[str, Any]:
        told: dict[str, Any] = TypeAdapter(DataCard).dump_python(self, by_alias=True)
        return told


@dataclass(frozen=True, kw_only=True)
class Learnt(DataCard):
    """What a student has learnt from."""

    since: float | None = None
    """The task's epoch: only later exchanges counted. In Unix time."""
    suspects: int = 0
    """Answers that were not taught, since they are likely wrong."""
    instructions: tuple[str, ...] | None = None
    """Those that the requests had, by their names; None where they were not told apart."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided, and on what figures."""

    promoted: bool = False
    reason: str = ""
    threshold: float | None = None
    evidence: int = 0
    """Teacher answers that the test was made on."""
    answered: int = 0
    """How many of them the challenger would have answered at its threshold,"""
    wrong: int = 0
    """and how many of these disagree."""
    share: float = 0.0
    """Share of the task's requests that the challenger would answer."""
    upper: float | None = None
    """Upper confidence bound on the share of its answers that disagree."""
    delta: float | None = None
    """The part of the error budget that the test spent; None where none was made."""
    barred: tuple[str, ...] = ()
    """Labels that it is wrong on too often to answer with."""
    veto: str | None = None
    """What of its answers speaks against it although they keep the bound as a whole."""
    floors: Mapping[str, float] = field(default_factory=dict)
    """The threshold of each slice that keeps the bound on its own, where each must. The others of
    these slices are left to the teacher."""

    @property
    def passed(self) -> bool:
        """Whether the answers above the threshold keep the bound, and nothing speaks against it."""
        return self.threshold is not None and not self.veto

    @property
    def disagreement(self) -> float | None:
        """Share of its answers that disagree; None where it gives none."""
        return self.wrong / self.answered if self.answered else None


@dataclass(frozen=True, slots=True)
class HostedTest:
    """What tryouts say of a hosted model."""

    model: str
    tryouts: int
    agreed: float
    """Share of what it said that the teacher said too."""
    cost_ratio: float | None
    """What its answers cost of what the teacher's do; None where these cost nothing."""
    saves: float
    """Share of the teacher's cost that the student saves."""


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """What becomes of one slice's requests."""

    kind: str
    name: str
    evidence: int
    """Teacher answers in it."""
    share: float
    """Share of the task's requests that are in it."""
    answered: int
    """How many of the evidence the student answers at its threshold,"""
    wrong: int
    """and how many of these disagree."""
    agreement: float | None
    """Share of its answers that agree, each weighted by the requests it stands for; None where it
    gives none."""
    low: float
    """Interval of the agreement: exact binomial (Clopper and Pearson 1934), at 95%; where weights
    differ, with the effective number of answers (Korn and Graubard 1998)."""
    high: float
    bound: Standing


@dataclass(frozen=True, slots=True)
class Regressions:
    """Requests on which a student of the task was caught to be wrong, and what this one, trained
    without them, makes of them. Every audit that disagrees adds one."""

    right: int
    left: int
    """Left to the teacher."""
    wrong: int

    @property
    def total(self) -> int:
        return self.right + self.left + self.wrong


@dataclass(frozen=True, slots=True)
class Report:
    """A student's figures at one threshold."""

    threshold: float
    slices: tuple[SliceFigures, ...]
    """All requests first, as a slice of its own kind."""
    calibration_error: float
    """Expected calibration error: the mean distance of confidence and agreement, in bins."""
    brier: float
    """Mean square of the distance of confidence and agreement."""
    regressions: Regressions


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the text to the answer, on the machine and in the process that trained."""

    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What was expected of the training run."""

    saving_usd: float
    training_usd: float


@dataclass(frozen=True, slots=True)
class Card:
    """All that is known of a student when it has been trained."""

    data: Learnt = Learnt()
    labels: tuple[str, ...] = ()
    """What it can answer, where that is a closed set."""
    rungs: tuple[str, ...] = ()
    """From the cheapest to the dearest; none where there is no student."""
    gate: Verdict = Verdict()
    promise: Promise | None = None
    """What it was tested for; None where nobody noted it."""
    hosted: HostedTest | None = None
    """Of the hosted model that is part of it."""
    again: str | None = None
    """The version of the student that this is, where it was not trained but only tested again."""
    usage: Mapping[str, Any] | None = None
    """For people: the student has it among its files."""
    evaluation: Report | None = None
    latency: Latency | None = None
    training_s: float | None = None
    expected: Expected | None = None

    @classmethod
    def parse(cls, text: str) -> Card:
        """The card that was kept as ``text``."""
        return _adapter().validate_json(text)

    @property
    def text(self) -> str:
        """The card as it is kept."""
        return json.dumps(_adapter().dump_python(self, by_alias=True), ensure_ascii=False, indent=1)

    @property
    def slices(self) -> tuple[SliceFigures, ...]:
        return self.evaluation.slices if self.evaluation is not None else ()


def as_written(record: StudentRecord) -> dict[str, Any]:
    """The student's card as JSON for people to read: whatever version wrote it, unchanged."""
    card: dict[str, Any] = json.loads(record.card)
    return card


def placed_share(records: Iterable[StudentRecord]) -> float:
    """The share of their task's requests that those of these students answer that are placed: that
    of the one that answers most, 0 where there is none."""
    placed = (Card.parse(record.card) for record in records if record.placed)
    return max((card.gate.share for card in placed), default=0.0)


def taught_under(
    records: Iterable[StudentRecord], instructions: Collection[str] | None
) -> list[StudentRecord]:
    """The students that learnt under any of these ``instructions``; all, where none are told
    apart."""
    if instructions is None:
        return list(records)
    return [
        record
        for record in records
        if (known := Card.parse(record.card).data.instructions) is None
        or not set(known).isdisjoint(instructions)
    ]


@cache
def _adapter() -> TypeAdapter[Card]:
    """Made when it is first needed: it takes milliseconds, and a server starts without."""
    return TypeAdapter(Card)
