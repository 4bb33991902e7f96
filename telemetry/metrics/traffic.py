"""Metrics that are counted: from the same exchanges that the store keeps, and of one process.

With several worker processes the values live in files of ``PROMETHEUS_MULTIPROC_DIR``, and any
worker can report the sum of all.

What is named ``gen_ai`` follows OpenTelemetry's semantic conventions for generative AI
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/), with its buckets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge

from telemetry.conventions import operation
from telemetry.exchange import PICO, Dialect, Exchange, Route
from telemetry.metrics.batches import Amount, BatchHistogram, Observations
from telemetry.metrics.exemplars import Exemplars
from telemetry.metrics.exposition import Counted, Exposition, Zeros, expose, shared_folder
from telemetry.metrics.labels import OTHER, Labels, TaskLabels
from telemetry.metrics.standing import Standing, StandingCollector

MOST_MODELS = 50
"""Callers may ask for models by names of their own, where ``other_models`` lets them."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_OWN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_GEN_AI_TOKENS = tuple(4**power for power in range(14))
_GEN_AI_SECONDS = tuple(0.01 * 2**power for power in range(14))
_GEN_AI_FIRST = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)

_ROUTES: tuple[Route, ...] = ("teacher", "student", "model")
"""Of answers to callers."""
_VERDICTS = ("good", "bad", "corrected", "comment")
"""What people may say of an answer."""


@dataclass(frozen=True, slots=True)
class _Times:
    """What the times of one route's exchanges are counted in."""

    duration: Observations
    first_token: Observations
    router: Observations

    def flush(self) -> None:
        self.duration.flush()
        self.first_token.flush()
        self.router.flush()


@dataclass(frozen=True, slots=True)
class _Calls:
    """What the calls to one upstream model are counted in."""

    prompt_tokens: Observations
    completion_tokens: Observations
    duration: Observations
    first_token: Observations

    def flush(self) -> None:
        self.prompt_tokens.flush()
        self.completion_tokens.flush()
        self.duration.flush()
        self.first_token.flush()


@dataclass(frozen=True, slots=True)
class _Series:
    """What exchanges of one route, model, task and status are counted in. To look a series up takes
    longer than to count in it."""

    requests: Amount
    prompt_tokens: Amount
    completion_tokens: Amount
    cost: Amount
    teacher_cost: Amount
    predicted_cost: Amount | None
    """The teacher's for what students answered; None where it answered itself."""
    times: _Times
    calls: _Calls | None
    """None where a student answers."""

    def flush(self) -> None:
        self.requests.flush()
        self.prompt_tokens.flush()
        self.completion_tokens.flush()
        self.cost.flush()
        self.teacher_cost.flush()
        if self.predicted_cost is not None:
            self.predicted_cost.flush()
        self.times.flush()
        if self.calls is not None:
            self.calls.flush()


class Metrics:
    """All metrics of one server process.

    ``codes`` are those of the errors that there may be, and ``statuses`` of the answers to requests
    that are turned away.
    """

    def __init__(self, codes: Collection[str] = (), statuses: Collection[int] = ()) -> None:
        self._codes = frozenset(codes)
        self._statuses = sorted(statuses)
        self._series: dict[tuple[Route, str, str, int, Dialect], _Series] = {}
        self._changed: list[_Series] = []
        """Since the last flush."""
        self._times: dict[Route, _Times] = {}
        self._calls: dict[tuple[str, str], _Calls] = {}
        self._registry = CollectorRegistry()
        folder = shared_folder()
        self._tasks = TaskLabels(file=folder and folder / "tasks")
        self._models = Labels(MOST_MODELS, folder and folder / "models")
        self._standing = StandingCollector(self._tasks)
        self._exemplars = Exemplars(folder)
        self._count_traffic()
        self._count_learning()
        self._measure_calls()
        self._in_flight = self._gauge("in_flight_requests", "Requests being answered.", "livesum")
        self._store_queue = self._gauge(
            "store_queue_exchanges", "Exchanges and audits that wait for the database.", "livesum"
        )
        self._store_lag = self._gauge(
            "store_lag_seconds",
            "How long the oldest of them has waited; 0 where none waits.",
            "livemax",
        )
        self._breaker = self._gauge(
            "breaker_open",
            "1 while an upstream is left alone because it keeps failing.",
            "livemax",
            "upstream",
        )

    def _count_traffic(self) -> None:
        self._requests = self._counter(
            "requests", "Requests answered, errors included.", "route", "model", "task", "status"
        )
        self._rejected = self._counter(
            "rejected_requests", "Requests that ended without an exchange.", "status"
        )
        self._errors = self._counter(
            "errors", "Requests that ended with an error, turned away or not.", "code"
        )
        self._lost = self._counter(
            "lost_exchanges", "Answers given to callers that could not be stored.", "route"
        )
        self._tokens = self._counter(
            "tokens", "Tokens of answers.", "route", "model", "task", "kind"
        )
        self._cost = self._counter(
            "cost_usd", "Spent on answers to callers.", "route", "model", "task"
        )
        self._teacher_cost = self._counter(
            "teacher_only_cost_usd", "What the teacher alone would have cost.", "task"
        )
        self._predicted_cost = self._counter(
            "student_teacher_cost_usd",
            "What the teacher is predicted to cost for what students answered.",
            "task",
        )
        self._fallbacks = self._counter(
            "fallbacks", "Answers of a student because the teacher was down.", "task"
        )
        self._broken = self._counter(
            "broken_answers", "Answers that broke off after they had begun.", "task"
        )
        self._feedback = self._counter(
            "feedback", "What people said of answers.", "task", "verdict"
        )
        self._duration = self._histogram(
            "request_duration_seconds", "From the request to the end of its answer.", _SECONDS
        )
        self._first_token = self._histogram(
            "time_to_first_token_seconds",
            "From the request to the first token of a stream.",
            _SECONDS,
        )
        self._router = self._histogram(
            "router_seconds",
            "Of a request's time, what no upstream was waited for: spent in Protege itself.",
            _OWN_SECONDS,
        )

    def _count_learning(self) -> None:
        self._audit_cost = self._counter("audit_cost_usd", "Spent on audits.", "task")
        self._tryout_cost = self._counter(
            "tryout_cost_usd", "Spent on asking hosted models beside the teacher.", "task"
        )
        self._tryouts = self._counter(
            "tryouts", "Requests put to a hosted model beside the teacher.", "task", "model"
        )
        self._tryout_disagreements = self._counter(
            "tryout_disagreements",
            "Tryouts in which the hosted model said something else.",
            *("task", "model"),
        )
        self._audits = self._counter("audits", "Student answers put to the teacher too.", "task")
        self._disagreements = self._counter(
            "audit_disagreements", "Audits in which the teacher said something else.", "task"
        )
        self._audited_cost = self._counter(
            "audited_teacher_cost_usd",
            "Of audited answers, what the teacher was predicted to cost, and what it did.",
            *("task", "kind"),
        )
        self._audited_squares = self._counter(
            "audited_teacher_cost_usd_squared",
            "Sums of the squares of these costs, and of the products of both.",
            *("task", "kind"),
        )

    def _measure_calls(self) -> None:
        call = ("gen_ai_operation_name", "gen_ai_request_model")
        self._call_tokens = BatchHistogram(
            "gen_ai_client_token_usage",
            "Tokens of a call to an upstream model.",
            (*call, "gen_ai_token_type"),
            registry=self._registry,
            buckets=_GEN_AI_TOKENS,
        )
        self._call_duration = BatchHistogram(
            "gen_ai_client_operation_duration_seconds",
            "How long an upstream model was waited for, retries included.",
            call,
            registry=self._registry,
            buckets=_GEN_AI_SECONDS,
        )
        self._call_first_token = BatchHistogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From the request to the first token of an upstream model's stream.",
            call,
            registry=self._registry,
            buckets=_GEN_AI_FIRST,
        )

    def exchange(self, exchange: Exchange, router_s: float = 0.0, upstream_s: float = 0.0) -> None:
        """Count an exchange that has been stored; it shows after the next `flush`.

        ``upstream_s`` is how long upstreams were waited for, ``router_s`` all else that the answer
        took, in seconds.
        """
        task = self._tasks.label(exchange.task)
        # The versions of students are many: the label says only that it was one. A hosted model has
        # a name of its own.
        by_student = exchange.route == "student" and not exchange.hosted
        model = "student" if by_student else self._models.admit(exchange.model)
        kind = (exchange.route, model, task, exchange.status, exchange.dialect)
        series = self._series.get(kind) or self._new_series(*kind)
        if not series.requests.pending:
            self._changed.append(series)
        series.requests.pending += 1
        series.prompt_tokens.pending += exchange.prompt_tokens
        series.completion_tokens.pending += exchange.completion_tokens
        series.cost.pending += exchange.cost
        series.teacher_cost.pending += exchange.teacher_cost
        if series.predicted_cost is not None:
            series.predicted_cost.pending += exchange.teacher_cost
        example = exchange.id
        times, calls, first_token_s = series.times, series.calls, exchange.first_token_s
        times.duration.add(exchange.latency_s, example)
        times.router.add(router_s, example)
        if first_token_s is not None:
            times.first_token.add(first_token_s, example)
        if calls is not None:
            calls.duration.add(upstream_s)
            if exchange.status == 200:
                calls.prompt_tokens.add(exchange.prompt_tokens)
                calls.completion_tokens.add(exchange.completion_tokens)
            if first_token_s is not None:
                calls.first_token.add(first_token_s)
        if exchange.reason == "teacher_down":
            self._fallbacks.labels(task).inc()
        if exchange.broke_off:
            self._broken.labels(task).inc()
        if exchange.error is not None:
            self._err(exchange.error)

    def flush(self) -> None:
        """Let what was counted since the last time be seen."""
        changed, self._changed = self._changed, []
        for series in changed:
            series.flush()
        if changed:
            self._exemplars.share()

    def _new_series(
        self, route: Route, model: str, task: str, status: int, dialect: Dialect
    ) -> _Series:
        predicted = Amount(self._predicted_cost.labels(task), PICO) if route == "student" else None
        series = _Series(
            requests=Amount(self._requests.labels(route, model, task, status)),
            prompt_tokens=Amount(self._tokens.labels(route, model, task, "prompt")),
            completion_tokens=Amount(self._tokens.labels(route, model, task, "completion")),
            cost=Amount(self._cost.labels(route, model, task), PICO),
            teacher_cost=Amount(self._teacher_cost.labels(task), PICO),
            predicted_cost=predicted,
            times=self._times_of(route),
            calls=None if model == "student" else self._calls_of(dialect, model),
        )
        self._series[route, model, task, status, dialect] = series
        return series

    def _times_of(self, route: Route) -> _Times:
        times = self._times.get(route)
        if times is None:
            times = self._times[route] = _Times(
                duration=self._timed(self._duration, route, _SECONDS),
                first_token=self._timed(self._first_token, route, _SECONDS),
                router=self._timed(self._router, route, _OWN_SECONDS),
            )
        return times

    def _timed(
        self, histogram: BatchHistogram, route: Route, bounds: Sequence[float]
    ) -> Observations:
        (family,) = histogram.describe()
        examples = self._exemplars.of(family.name, route, bounds)
        return Observations(histogram.labels(route), bounds, examples)

    def _calls_of(self, dialect: Dialect, model: str) -> _Calls:
        done = operation(dialect)
        calls = self._calls.get((done, model))
        if calls is None:
            tokens = self._call_tokens
            calls = self._calls[done, model] = _Calls(
                prompt_tokens=Observations(tokens.labels(done, model, "input"), _GEN_AI_TOKENS),
                completion_tokens=Observations(
                    tokens.labels(done, model, "output"), _GEN_AI_TOKENS
                ),
                duration=Observations(self._call_duration.labels(done, model), _GEN_AI_SECONDS),
                first_token=Observations(self._call_first_token.labels(done, model), _GEN_AI_FIRST),
            )
        return calls

    def rejected(self, status: int, code: str) -> None:
        """Count a request of which there is no exchange, by the error that its caller was told."""
        self._rejected.labels(status).inc()
        self._err(code)

    def _err(self, code: str) -> None:
        self._errors.labels(code if code in self._codes else OTHER).inc()

    def lost(self, route: Route) -> None:
        """Count an exchange of which there is no record."""
        self._lost.labels(route).inc()

    def audit(self, task: str, *, agreed: bool | None, cost: int, predicted: int) -> None:
        """Count an audit that cost so many picodollars, where the teacher was ``predicted`` to.
        One that says nothing (``agreed`` is None) counts by its cost alone."""
        label, real, expected = self._tasks.admit(task), cost / PICO, predicted / PICO
        if agreed is not None:
            self._audits.labels(label).inc()
        self._audit_cost.labels(label).inc(real)
        if agreed is False:
            self._disagreements.labels(label).inc()
        if cost:
            # What says how far the prediction is off: as the store's sums have it.
            self._audited_cost.labels(label, "predicted").inc(expected)
            self._audited_cost.labels(label, "real").inc(real)
            self._audited_squares.labels(label, "predicted").inc(expected**2)
            self._audited_squares.labels(label, "real").inc(real**2)
            self._audited_squares.labels(label, "product").inc(real * expected)

    def tryout(self, task: str, model: str, *, agreed: bool, cost: int) -> None:
        """Count a tryout of a hosted model for which so many picodollars were spent."""
        label, model = self._tasks.admit(task), self._models.admit(model)
        self._tryouts.labels(label, model).inc()
        self._tryout_cost.labels(label).inc(cost / PICO)
        if not agreed:
            self._tryout_disagreements.labels(label, model).inc()

    def repeat(self, task: str, cost: int) -> None:
        """Count what it cost, in picodollars, to ask the teacher again."""
        self._audit_cost.labels(self._tasks.admit(task)).inc(cost / PICO)

    def feedback(self, task: str, verdict: str) -> None:
        """Count feedback: ``good``, ``bad``, ``corrected`` or a ``comment`` alone."""
        self._feedback.labels(self._tasks.admit(task), verdict).inc()

    def load(self, requests: int) -> None:
        """So many requests are being answered."""
        self._in_flight.set(requests)

    def backlog(self, waiting: int, lag_s: float) -> None:
        """So many records wait for the database, the oldest for ``lag_s`` seconds."""
        self._store_queue.set(waiting)
        self._store_lag.set(lag_s)

    def breakers(self, opened: Mapping[str, bool]) -> None:
        """Whether the circuit breaker of each upstream model is open. These have labels of their
        own, whatever callers make up."""
        for upstream, is_open in opened.items():
            self._models.admit(upstream)
            self._breaker.labels(upstream).set(is_open)

    def stand(self, standing: Standing) -> None:
        """What is shown from now on of tasks, students, training and budgets."""
        self._standing.now = standing

    def render(self, accept: str = "") -> Exposition:
        """All metrics in the format that an HTTP ``Accept`` header asks for."""
        counted = Counted(self._registry, self._exemplars, self._zeros())
        return expose(counted, self._standing, accept)

    def _zeros(self) -> Mapping[str, Zeros]:
        """What is shown as 0 before it first happens: what is rare, for every task that has a label
        of its own."""
        tasks = [(task,) for task in sorted(self._tasks.names())]
        audits = ("audits", "audit_disagreements", "audit_cost_usd")
        said = [(*task, verdict) for task in tasks for verdict in _VERDICTS]
        zeros = {
            **{name: Zeros(("task",), tasks) for name in (*audits, "fallbacks", "broken_answers")},
            "feedback": Zeros(("task", "verdict"), said),
            "lost_exchanges": Zeros(("route",), [(route,) for route in _ROUTES]),
            "rejected_requests": Zeros(("status",), [(str(one),) for one in self._statuses]),
            "errors": Zeros(("code",), [(code,) for code in sorted(self._codes)]),
        }
        return {f"protege_{name}": zero for name, zero in zeros.items()}

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"protege_{name}_total", words, labels, registry=self._registry)

    def _histogram(self, name: str, words: str, buckets: Sequence[float]) -> BatchHistogram:
        return BatchHistogram(
            f"protege_{name}", words, ["route"], registry=self._registry, buckets=buckets
        )

    def _gauge(self, name: str, words: str, mode: str, *labels: str) -> Gauge:
        return Gauge(
            f"protege_{name}",
            words,
            labels,
            registry=self._registry,
            multiprocess_mode=mode,  # type: ignore[arg-type]
        )
