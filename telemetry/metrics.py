"""Prometheus metrics, counted from the same exchanges that the store keeps.

With several worker processes the values live in files of ``PROMETHEUS_MULTIPROC_DIR``, and any
worker can report the sum of all.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from dataclasses import dataclass
from pathlib import Path

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from telemetry.exchange import PICO, Exchange, Route

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

# When each series was created doubles the output and nobody reads it.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class TaskLabels:
    """Bounds the number of label values: a task gets one of its own once it is seen to matter.

    That is after ``least`` requests, or when a student takes it over; at most ``most`` tasks do,
    and all others are ``other``.
    """

    def __init__(self, least: int = 20, most: int = 200, remembered: int = 10_000) -> None:
        self._least = least
        self._most = most
        self._remembered = remembered
        self._seen: Tally[str] = Tally()
        self._named: set[str] = set()

    def label(self, task: str) -> str:
        """The label for one more request of ``task``."""
        if task in self._named:
            return task
        if len(self._named) < self._most:
            if len(self._seen) >= self._remembered:
                self._seen.clear()
            self._seen[task] += 1
            if self._seen[task] >= self._least:
                self.admit(task)
                return task
        return "other"

    def admit(self, task: str) -> str:
        """The label of a task that a student has or had."""
        if task in self._named:
            return task
        if len(self._named) >= self._most:
            return "other"
        self._named.add(task)
        self._seen.pop(task, None)
        return task


@dataclass(frozen=True, slots=True)
class _Series:
    """What exchanges of one route, model, task and status are counted in. To look a series up takes
    longer than to count in it."""

    requests: Counter
    prompt_tokens: Counter
    completion_tokens: Counter
    cost: Counter
    teacher_cost: Counter
    duration: Histogram


class Metrics:
    """All metrics of one server process."""

    def __init__(self) -> None:
        self._series: dict[tuple[Route, str, str, int], _Series] = {}
        self._registry = CollectorRegistry()
        self._labels = TaskLabels()
        self._requests = self._counter(
            "requests", "Requests answered, errors included.", "route", "model", "task", "status"
        )
        self._rejected = self._counter(
            "rejected_requests", "Requests that ended without an exchange.", "status"
        )
        self._lost = self._counter(
            "lost_exchanges", "Answers given to callers that could not be stored.", "route"
        )
        self._tokens = self._counter("tokens", "Tokens of answers.", "route", "model", "kind")
        self._cost = self._counter("cost_usd", "Spent on answers to callers.", "route", "task")
        self._teacher_cost = self._counter(
            "teacher_only_cost_usd", "What the teacher alone would have cost.", "task"
        )
        self._audit_cost = self._counter("audit_cost_usd", "Spent on audits.", "task")
        self._audits = self._counter("audits", "Student answers put to the teacher too.", "task")
        self._disagreements = self._counter(
            "audit_disagreements", "Audits in which the teacher said something else.", "task"
        )
        self._fallbacks = self._counter(
            "fallbacks", "Answers of a student because the teacher was down.", "task"
        )
        self._demotions = self._counter(
            "demotions", "Students taken out of service by their audits.", "task"
        )
        self._feedback = self._counter(
            "feedback", "What people said of answers.", "task", "verdict"
        )
        self._duration = self._histogram(
            "request_duration_seconds", "From the request to the end of its answer."
        )
        self._first_token = self._histogram(
            "time_to_first_token_seconds", "From the request to the first token of a stream."
        )
        self.in_flight = Gauge(
            "protege_in_flight_requests",
            "Requests being answered.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._serving = self._task_gauge("student_serving", "1 while a student serves the task.")
        self._promoted = self._task_gauge(
            "student_promoted_timestamp_seconds", "When the serving student was made."
        )

    def exchange(self, exchange: Exchange) -> None:
        """Count an exchange that has been stored."""
        task = self._labels.label(exchange.task)
        # The versions of students are many: the label says only that it was one.
        model = "student" if exchange.route == "student" else exchange.model
        series = self._series_of(exchange.route, model, task, exchange.status)
        series.requests.inc()
        series.prompt_tokens.inc(exchange.prompt_tokens)
        series.completion_tokens.inc(exchange.completion_tokens)
        series.cost.inc(exchange.cost / PICO)
        series.teacher_cost.inc(exchange.teacher_cost / PICO)
        series.duration.observe(exchange.latency_s)
        if exchange.first_token_s is not None:
            self._first_token.labels(exchange.route).observe(exchange.first_token_s)
        if exchange.reason == "teacher_down":
            self._fallbacks.labels(task).inc()

    def _series_of(self, route: Route, model: str, task: str, status: int) -> _Series:
        kind = (route, model, task, status)
        series = self._series.get(kind)
        if series is None:
            series = self._series[kind] = _Series(
                requests=self._requests.labels(*kind),
                prompt_tokens=self._tokens.labels(route, model, "prompt"),
                completion_tokens=self._tokens.labels(route, model, "completion"),
                cost=self._cost.labels(route, task),
                teacher_cost=self._teacher_cost.labels(task),
                duration=self._duration.labels(route),
            )
        return series

    def rejected(self, status: int) -> None:
        """Count a request of which there is no exchange."""
        self._rejected.labels(status).inc()

    def lost(self, route: Route) -> None:
        """Count an exchange of which there is no record."""
        self._lost.labels(route).inc()

    def audit(self, task: str, *, agreed: bool, cost: int) -> None:
        """Count an audit that cost so many picodollars."""
        label = self._labels.admit(task)
        self._audits.labels(label).inc()
        self._audit_cost.labels(label).inc(cost / PICO)
        if not agreed:
            self._disagreements.labels(label).inc()

    def feedback(self, task: str, verdict: str) -> None:
        """Count feedback: ``good``, ``bad``, ``corrected`` or a ``comment`` alone."""
        self._feedback.labels(self._labels.admit(task), verdict).inc()

    def promoted(self, task: str, created: float) -> None:
        """A student made at Unix time ``created`` has begun to serve."""
        label = self._labels.admit(task)
        self._serving.labels(label).set(1)
        self._promoted.labels(label).set(created)

    def retired(self, task: str) -> None:
        """The task has no student any more."""
        self._serving.labels(self._labels.admit(task)).set(0)

    def demoted(self, task: str) -> None:
        """Audits have taken the task's student out of service."""
        self._demotions.labels(self._labels.admit(task)).inc()

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if folder is None:
            return generate_latest(self._registry)
        _forget_dead_processes(Path(folder))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"protege_{name}_total", words, labels, registry=self._registry)

    def _histogram(self, name: str, words: str) -> Histogram:
        return Histogram(
            f"protege_{name}", words, ["route"], registry=self._registry, buckets=_SECONDS
        )

    def _task_gauge(self, name: str, words: str) -> Gauge:
        return Gauge(
            f"protege_{name}",
            words,
            ["task"],
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )


def _forget_dead_processes(folder: Path) -> None:
    """Requests in flight in a process that was killed will never end."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
