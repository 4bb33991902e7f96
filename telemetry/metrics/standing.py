"""How things stand: what is not counted as it happens but read, from the store and the counters of
budgets, when somebody asks for the metrics.

Every process of a server, and every replica on the same database, tells the same of it.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from telemetry.changes import Cause, Change, ChangeTally
from telemetry.exchange import PICO, Stage
from telemetry.metrics.labels import OTHER, TaskLabels
from telemetry.runs import WITHIN_S, Outcome, RunTally

_PROMOTERS: tuple[Cause, ...] = ("loop", "hand")
MOST_KEYS = 200
"""Keys whose budgets are shown: the oldest of those that may be used."""
MOST_SLICES = 20
"""Slices of a task that are shown."""


@dataclass(frozen=True, slots=True)
class StudentStanding:
    """A student in service and what its audits say of it; agreement is a share of its answers."""

    task: str
    version: str
    since: float
    """Unix time at which it took over its task."""
    bound: float
    """The agreement that is promised."""
    audits: int
    agreement: float | None
    """None without an audit."""
    lower: float
    """Of the interval that holds the agreement,"""
    upper: float
    """with the promise's confidence."""
    drift: float
    """How near the audits are to contradicting the promise: at 1 the student is demoted."""
    slices: Mapping[str, float] = field(default_factory=dict)
    """Agreement by slice when the student was tested."""


@dataclass(frozen=True, slots=True)
class BudgetStanding:
    """A budget, and what is left of it in this period, in picodollars.

    It is for what a task or a key spends; of the budgets of policies, one without both is for all.
    """

    total: int
    left: int
    task: str = ""
    key: str = ""
    name: str = ""
    """What people call the key."""


@dataclass(frozen=True, slots=True)
class Standing:
    """All of it at one time."""

    students: Sequence[StudentStanding] = ()
    without: Sequence[str] = ()
    """Tasks that students were trained for and that none serves."""
    coming: Mapping[str, Stage] = field(default_factory=dict)
    """The stage of the student that is on its way into service, by task."""
    runs: Sequence[RunTally] = ()
    changes: Sequence[ChangeTally] = ()
    """Of who serves."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """What each task's last training run had to learn from."""
    keys: Sequence[BudgetStanding] = ()
    policies: Sequence[BudgetStanding] = ()
    prices: Mapping[str, float] = field(default_factory=dict)
    """The Unix time from which its present price counts, by configured model whose has changed."""


class StandingCollector(Collector):
    """Shows ``now`` as metrics; what has no label of its own has no agreement to show either."""

    def __init__(self, tasks: TaskLabels) -> None:
        self._tasks = tasks
        self.now = Standing()

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        students = [one for one in self.now.students if self._tasks.admit(one.task) != OTHER]
        yield from self._serving(students)
        yield from _agreement(students)
        yield from self._training()
        yield from self._changes()
        yield from self._key_budgets()
        yield from self._policy_budgets()
        yield self._prices()

    def _serving(self, students: Sequence[StudentStanding]) -> Iterator[Metric]:
        serving = _gauge(
            "student_serving", "1 while a student serves the task, 0 where none of it does.", "task"
        )
        for one in students:
            serving.add_metric([one.task], 1)
        for task in self.now.without:
            if self._tasks.admit(task) != OTHER:
                serving.add_metric([task], 0)
        yield serving
        made = _gauge(
            "student_promoted_timestamp_seconds",
            "When the student in service took over the task.",
            "task",
        )
        info = _gauge("student_info", "The version of the student in service.", "task", "version")
        for one in students:
            made.add_metric([one.task], one.since)
            info.add_metric([one.task, one.version], 1)
        yield made
        yield info
        yield self._coming()

    def _coming(self) -> Metric:
        coming = _gauge(
            "student_coming",
            "1 while a student is on its way into service, by the stage that it is at.",
            *("task", "stage"),
        )
        for task, stage in self.now.coming.items():
            if self._tasks.admit(task) != OTHER:
                coming.add_metric([task, stage], 1)
        return coming

    def _training(self) -> Iterator[Metric]:
        runs = CounterMetricFamily(
            "protege_training_runs", "Training runs that have ended.", labels=["task", "outcome"]
        )
        examples = _gauge(
            "dataset_examples", "Teacher answers that the last training run learnt from.", "task"
        )
        counts: Tally[tuple[str, str]] = Tally()
        for tally in self.now.runs:
            counts[self._tasks.admit(tally.task), tally.outcome] += tally.runs
        for task in self._known():
            for outcome in get_args(Outcome):
                counts[task, outcome] += 0
        for (task, outcome), count in counts.items():
            runs.add_metric([task, outcome], count)
        for task, size in self.now.sizes.items():
            if self._tasks.admit(task) != OTHER:
                examples.add_metric([task], size)
        yield from (runs, examples, _durations(self.now.runs))

    def _changes(self) -> Iterator[Metric]:
        promotions = CounterMetricFamily(
            "protege_promotions",
            "Students put in service, by the learning loop or by hand.",
            labels=["task", "cause"],
        )
        demotions = CounterMetricFamily(
            "protege_demotions", "Students taken out of service by their audits.", labels=["task"]
        )
        rollbacks = CounterMetricFamily(
            "protege_rollbacks",
            "Students taken out of service by hand, or turned back on their way there.",
            labels=["task"],
        )
        counts: Tally[tuple[str, Change, Cause]] = Tally()
        last: dict[tuple[str, Change], float] = {}
        for tally in self.now.changes:
            task = self._tasks.admit(tally.task)
            counts[task, tally.change, tally.cause] += tally.count
            if task != OTHER:
                last[task, tally.change] = max(last.get((task, tally.change), 0.0), tally.last)
        tasks = {*self._known(), *(task for task, _, _ in counts)}
        for task in sorted(tasks):
            for cause in _PROMOTERS:
                promotions.add_metric([task, cause], counts[task, "promoted", cause])
            demotions.add_metric([task], counts[task, "demoted", "audits"])
            turned_back = counts[task, "rolled_back", "loop"]
            rollbacks.add_metric([task], counts[task, "rolled_back", "hand"] + turned_back)
        changed = _gauge(
            "student_changed_timestamp_seconds",
            "When a student of the task was last promoted, demoted or rolled back.",
            *("task", "change"),
        )
        for (task, change), when in last.items():
            changed.add_metric([task, change], when)
        yield from (promotions, demotions, rollbacks, changed)

    def _known(self) -> Sequence[str]:
        """The tasks of which it is shown that something has not happened yet."""
        return sorted(self._tasks.names())

    def _key_budgets(self) -> Iterator[Metric]:
        total = _gauge("key_budget_usd", "What a key may spend in a period.", "key", "name")
        left = _gauge("key_budget_left_usd", "What of it is left in this period.", "key", "name")
        for budget in self.now.keys[:MOST_KEYS]:
            total.add_metric([budget.key, budget.name], budget.total / PICO)
            left.add_metric([budget.key, budget.name], budget.left / PICO)
        yield from (total, left)

    def _policy_budgets(self) -> Iterator[Metric]:
        labels = ("task", "key")
        total = _gauge("policy_budget_usd", "What a policy may spend in a period.", *labels)
        left = _gauge("policy_budget_left_usd", "What of it is left in this period.", *labels)
        # As many as the configuration has.
        for budget in self.now.policies:
            total.add_metric([budget.task, budget.key], budget.total / PICO)
            left.add_metric([budget.task, budget.key], budget.left / PICO)
        yield from (total, left)

    def _prices(self) -> Metric:
        changed = _gauge(
            "price_changed_timestamp_seconds", "When the model's present price began.", "model"
        )
        for model, when in self.now.prices.items():
            changed.add_metric([model], when)
        return changed


def _agreement(students: Sequence[StudentStanding]) -> Iterator[Metric]:
    agreement = _gauge(
        "agreement_ratio", "Share of the audited student answers that the teacher gave too.", "task"
    )
    audits = _gauge("agreement_audits", "Audits that agreement is the share of.", "task")
    lower = _gauge("agreement_lower_ratio", "Lower end of the agreement's interval.", "task")
    upper = _gauge("agreement_upper_ratio", "Upper end of the agreement's interval.", "task")
    bound = _gauge("bound_ratio", "The least agreement that is promised.", "task")
    drift = _gauge(
        "drift_score", "Evidence of the audits against the promise; 1 ends the service.", "task"
    )
    slices = _gauge(
        "slice_agreement_ratio",
        "Agreement of what the student would answer of a slice, when it was tested.",
        *("task", "slice"),
    )
    for one in students:
        label = [one.task]
        if one.agreement is not None:
            agreement.add_metric(label, one.agreement)
        audits.add_metric(label, one.audits)
        lower.add_metric(label, one.lower)
        upper.add_metric(label, one.upper)
        bound.add_metric(label, one.bound)
        drift.add_metric(label, one.drift)
        for name in sorted(one.slices)[:MOST_SLICES]:
            slices.add_metric([one.task, name], one.slices[name])
    yield from (agreement, audits, lower, upper, bound, drift, slices)


def _durations(runs: Sequence[RunTally]) -> Metric:
    family = HistogramMetricFamily("protege_training_seconds", "How long training runs took.")
    total = sum(tally.runs for tally in runs)
    buckets = [
        (str(float(most)), float(sum(tally.within[place] for tally in runs)))
        for place, most in enumerate(WITHIN_S)
    ]
    seconds = sum(tally.seconds for tally in runs)
    family.add_metric([], [*buckets, ("+Inf", float(total))], seconds)
    return family


def _gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"protege_{name}", words, labels=labels)
