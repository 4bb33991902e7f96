"""How often the intervals of ``protege policy replay`` cover what they are for, by simulation.

Streams of requests are drawn, logged under one policy with audits, and replayed under another. Then
that other policy is really run: over the very same requests, and over the stream at large. Beside
the intervals for disagreement stand two others on the same audits: the percentile bootstrap's, and
the empirical Bernstein bound (Maurer and Pontil 2009), which holds for any number of requests.

    python -m bench.replay                                  # 150 streams of 1,000 requests
    python -m bench.replay --streams 400 --requests 500 --audit-rate 0.05
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from policies.estimation import LEVEL, Estimate
from policies.evaluation import Outcome, happened
from policies.evaluation import replay as evaluate
from policies.fixed import Random, Student, Teacher
from policies.history import Floats, History, read
from policies.policy import Options, Policy
from policies.scores import RouteScore
from policies.threshold import Bound, Cascade
from telemetry.exchange import Route
from telemetry.past import Past

MICRO = 10**6
"""Picodollars of a millionth of a USD."""

POLICIES: tuple[tuple[str, Policy], ...] = (
    ("teacher", Teacher()),
    ("student", Student()),
    ("threshold 0.80", Cascade(0.80)),
    ("threshold 0.95", Cascade(0.95)),
    ("random 0.3", Random(0.3)),
)
LOGGED = 0.9
"""The threshold in force while the log is written."""

_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Request:
    """What a simulation knows of a request, and a log only in part."""

    options: Options
    wrong: bool
    """Whether the student's answer is not the teacher's."""
    teacher_cost: int
    teacher_s: float
    student_s: float


def draw(rng: np.random.Generator, requests: int, overconfidence: float = 1.0) -> list[Request]:
    """A stream in which half of the requests are easy. The student errs ``overconfidence`` times
    as often as it says."""
    confidence = np.where(
        rng.random(requests) < 0.5, rng.beta(60, 1.2, requests), rng.beta(4, 1.5, requests)
    )
    wrong = rng.random(requests) < np.minimum(overconfidence * (1 - confidence), 1)
    length = rng.lognormal(0.0, 0.7, requests)
    foretold = length * rng.lognormal(0.0, 0.3, requests)
    times = rng.lognormal(-0.7, 0.4, requests) * np.sqrt(length)
    return [
        Request(
            Options(
                RouteScore(round(MICRO * 300 * foretold[i]), 0.5, 1.0),
                RouteScore(MICRO, 0.002, float(confidence[i])),
                LOGGED,
            ),
            bool(wrong[i]),
            round(MICRO * 300 * length[i]),
            float(times[i]),
            float(rng.exponential(0.002)),
        )
        for i in range(requests)
    ]


def run(
    stream: Sequence[Request], policy: Policy, audit_rate: float, rng: np.random.Generator
) -> Iterator[Past]:
    """What the log says after ``policy`` has really served the ``stream``."""
    for request in stream:
        chance, reason = policy.choose(request.options)
        served = rng.random() < chance
        audited = served and rng.random() < audit_rate
        route: Route = "student" if served else "teacher"
        propensity = 1.0 - chance * (1.0 - audit_rate)
        decision = {
            "route": route,
            "reason": reason,
            "teacher": request.options.teacher,
            "student": request.options.student,
            "threshold": request.options.threshold,
            "propensity": propensity,
        }
        yield Past(
            task="task",
            route=route,
            status=200,
            finish_reason="stop",
            student="student",
            student_answer="no" if request.wrong else "yes",
            teacher_answer="yes" if audited or not served else None,
            agreed=not request.wrong if audited else None,
            confidence=request.options.student.agreement,
            propensity=propensity,
            decision=orjson.dumps(decision).decode(),
            cost=request.options.student.cost if served else request.teacher_cost,
            audit_cost=request.teacher_cost if audited else 0,
            latency_s=request.student_s if served else request.teacher_s,
            audit_latency_s=request.teacher_s if audited else None,
            kept=True,
        )


@dataclass(frozen=True, slots=True)
class Truth:
    """What a policy really came to."""

    usd: float
    latency_s: float
    p95_s: float
    wrong: float
    """Share of all answers that are not the teacher's."""


def truth(
    stream: Sequence[Request], policy: Policy, audit_rate: float, rng: np.random.Generator
) -> Truth:
    """Really run ``policy``."""
    served = read(run(stream, policy, audit_rate, rng), policy)
    outcome = happened(served)
    wrong = served.served @ np.array([request.wrong for request in stream])
    return Truth(
        outcome.usd.value,
        outcome.latency_s.value,
        outcome.p95_s.value,
        float(wrong) / len(stream),
    )


def bootstrap(history: History, chance: Floats, rng: np.random.Generator) -> Estimate:
    """The percentile interval for the share of all answers that disagree, by inverse
    propensities."""
    lost = _losses(history, chance)
    resampled = rng.choice(lost, (_RESAMPLES, len(lost))).mean(axis=1)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(lost.mean()), float(low), float(high))


def bernstein(history: History, chance: Floats) -> Estimate:
    """The same share within the empirical Bernstein bound (Maurer and Pontil 2009, theorem 4)."""
    lost = _losses(history, chance)
    most = float((chance / history.propensity).max())
    log = math.log(4 / (1 - LEVEL))
    n = len(lost)
    spread = math.sqrt(2 * lost.var(ddof=1) * log / n) + 7 * most * log / (3 * (n - 1))
    value = float(lost.mean())
    return Estimate(value, max(value - spread, 0.0), value + spread)


def _losses(history: History, chance: Floats) -> Floats:
    return chance * np.nan_to_num(history.wrong) / history.propensity


class Coverage:
    """How often intervals covered, and how wide they were."""

    def __init__(self) -> None:
        self._hits: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
        self._widths: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, policy: str, figure: str, estimate: Estimate, true: float) -> None:
        slack = 1e-9 * max(abs(true), 1.0)
        self._hits[policy, figure].append(estimate.low - slack <= true <= estimate.high + slack)
        self._widths[policy, figure].append(estimate.high - estimate.low)

    def share(self, policy: str, figure: str) -> float:
        return float(np.mean(self._hits[policy, figure]))

    def width(self, policy: str, figure: str) -> float:
        return float(np.mean(self._widths[policy, figure]))


FIGURES = ("usd", "latency_s", "p95_s", "wrong", "wrong, bootstrap", "wrong, Bernstein")


def measure(
    streams: int,
    requests: int,
    audit_rate: float,
    overconfidence: float,
    seed: int = 0,
    population: int = 40_000,
) -> tuple[Coverage, Coverage]:
    """Coverage for the same requests run again, and for the stream at large: for what a
    ``population`` of requests comes to."""
    rng = np.random.default_rng(seed)
    same, large = Coverage(), Coverage()
    at_large = draw(rng, population, overconfidence)
    scale = requests / population
    true = {}
    for name, policy in POLICIES:
        whole = truth(at_large, policy, audit_rate, rng)
        true[name] = replace(whole, usd=whole.usd * scale)
    for _ in track(range(streams), "Streams", disable=streams < 100):
        stream = draw(rng, requests, overconfidence)
        logged = list(run(stream, Bound(), audit_rate, rng))
        for name, policy in POLICIES:
            history = read(logged, policy)
            outcome = evaluate(history, history.chance, audit_rate)
            estimates = _estimates(outcome, history, rng)
            again = truth(stream, policy, audit_rate, rng)
            for figure, estimate in estimates.items():
                field = figure.partition(",")[0]
                same.add(name, figure, estimate, getattr(again, field))
                large.add(name, figure, estimate, getattr(true[name], field))
    return same, large


def _estimates(outcome: Outcome, history: History, rng: np.random.Generator) -> dict[str, Estimate]:
    nothing = Estimate(0.0, 0.0, 0.0)
    wrong = outcome.disagreement
    return {
        "usd": outcome.usd,
        "latency_s": outcome.latency_s,
        "p95_s": outcome.p95_s,
        "wrong": wrong.of_all_answers if wrong else nothing,
        "wrong, bootstrap": bootstrap(history, history.chance, rng),
        "wrong, Bernstein": bernstein(history, history.chance),
    }


def main(
    streams: Annotated[int, typer.Option(min=1)] = 150,
    requests: Annotated[int, typer.Option(help="Of each stream.", min=2)] = 1000,
    audit_rate: Annotated[float, typer.Option(min=0.001, max=1)] = 0.1,
    overconfidence: Annotated[
        float, typer.Option(help="How many times as often as it says a student errs.", min=0)
    ] = 1.5,
    seed: int = 0,
) -> None:
    """Print coverage and width by policy and figure."""
    same, large = measure(streams, requests, audit_rate, overconfidence, seed)
    table = Table(
        title=f"Coverage of {LEVEL:.0%} intervals: the same {requests:,} requests run again / "
        f"the stream at large; mean width below. {streams} streams, audits {audit_rate:.0%}"
    )
    for heading in ("policy", *FIGURES):
        table.add_column(heading, justify="left" if heading == "policy" else "right")
    for name, _ in POLICIES:
        cells = (f"{same.share(name, f):.1%} / {large.share(name, f):.1%}" for f in FIGURES)
        table.add_row(name, *cells)
        table.add_row("", *(f"{same.width(name, f):.4f}" for f in FIGURES), style="dim")
    Console(width=160).print(table)


if __name__ == "__main__":
    typer.run(main)
