"""How good the forecasts of cost and latency are, beside plain running means, and what they take.

Each stream is foretold one value at a time, before it is shown: simulated calls of one model whose
latency depends on load and on the answer's length, and jumps and wanders while they go on. Pinball
loss is the mean of what a quantile's forecast loses (Koenker and Bassett 1978): less is better.
Coverage is the share of values at or below the forecast: 50% and 95% are right, but of USD it is
the mean that is foretold, not the median.

    python -m bench.scorers --calls 20000
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from statistics import fmean
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from policies.decision import decide
from policies.policy import Options
from policies.scores import Ask, RouteScore, Scores
from policies.threshold import Bound
from telemetry.exchange import PICO
from telemetry.prices import Price, Usage
from telemetry.tolls import Toll

_MODEL = "gpt-5.4"
_PRICE = Price(input=2_500_000, output=15_000_000, cached_input=250_000)
_TASKS = 20
_WARM = 100
"""Calls that are shown before forecasts count."""
_Z95 = 1.645


@dataclass(frozen=True, slots=True)
class Call:
    """A call and what was known before it."""

    toll: Toll
    load: int


def steady(calls: int, rng: Random) -> Iterator[Call]:
    """Nothing changes but load and the lengths of prompts and answers."""
    return _calls(calls, rng, lambda _: 1.0)


def drifting(calls: int, rng: Random) -> Iterator[Call]:
    """The provider doubles its time at every third of the way, and comes back in between."""
    return _calls(calls, rng, lambda done: 2.0 if int(6 * done) % 2 else 1.0)


def wandering(calls: int, rng: Random) -> Iterator[Call]:
    """Four slow waves between a half and twice the time."""
    return _calls(calls, rng, lambda done: 2 ** math.sin(8 * math.pi * done))


def _calls(calls: int, rng: Random, slowness: Callable[[float], float]) -> Iterator[Call]:
    lengths = {f"task-{i}": rng.lognormvariate(4, 1) for i in range(_TASKS)}
    for i in range(calls):
        task = rng.choice(list(lengths))
        characters = round(500 + rng.lognormvariate(6, 0.8))
        # Long prompts have longer answers.
        written = max(1, round(lengths[task] * (characters / 1000) ** 0.5 * _noise(rng, 0.4)))
        load = rng.choice([0, 0, 0, 1, 1, 2, 4, 8])
        slow = slowness(i / calls) * (1 + load) ** 0.3
        first_s = 0.3 * slow * _noise(rng, 0.3)
        seconds = first_s + 0.01 * written * slow * _noise(rng, 0.2)
        usage = Usage(round(characters / 4 * _noise(rng, 0.05)), written)
        yield Call(Toll(task, "teacher", _MODEL, characters, usage, seconds, first_s, load), load)


def _noise(rng: Random, spread: float) -> float:
    return rng.lognormvariate(0, spread)


class Plain:
    """Mean and deviation of all values so far: the naive forecast."""

    def __init__(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, value: float) -> None:
        self._count += 1
        off = value - self._mean
        self._mean += off / self._count
        self._squares += off * (value - self._mean)

    def quantiles(self) -> tuple[float, float]:
        return self._mean, self._mean + _Z95 * math.sqrt(self._squares / max(self._count, 1))


@dataclass(slots=True)
class Judged:
    """Forecasts of one quantity's median and 95% quantile against what came."""

    losses: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    covered: tuple[list[bool], list[bool]] = field(default_factory=lambda: ([], []))

    def add(self, forecast: tuple[float, float], value: float) -> None:
        for i, (level, at) in enumerate(zip((0.5, 0.95), forecast, strict=True)):
            self.losses[i].append(max(level * (value - at), (level - 1) * (value - at)))
            self.covered[i].append(value <= at)

    def cells(self) -> list[str]:
        losses = [f"{fmean(each):.4g}" for each in self.losses]
        covered = [f"{fmean(each):.1%}" for each in self.covered]
        return [losses[0], covered[0], losses[1], covered[1]]


QUANTITIES = ("s to the end", "s to the first token", "USD")


def judge(calls: Iterator[Call]) -> dict[str, tuple[Judged, Judged]]:
    """By quantity: the scorers' forecasts, and the plain ones."""
    scores = Scores()
    plain = {name: Plain() for name in QUANTITIES}
    judged = {name: (Judged(), Judged()) for name in QUANTITIES}
    for i, call in enumerate(calls):
        toll = call.toll
        score = _foretell(scores, call)
        came = dict(
            zip(
                QUANTITIES,
                (toll.latency_s, toll.first_token_s or 0.0, _PRICE.cost(toll.usage) / PICO),
                strict=True,
            )
        )
        forecasts = (
            (score.latency_s, score.latency_p95_s),
            (score.first_token_s, score.first_token_p95_s),
            (score.cost / PICO, score.cost_p95 / PICO),
        )
        for name, forecast in zip(QUANTITIES, forecasts, strict=True):
            if i >= _WARM:
                judged[name][0].add(forecast, came[name])
                judged[name][1].add(plain[name].quantiles(), came[name])
            plain[name].add(came[name])
        scores.learn(toll)
    return judged


def _foretell(scores: Scores, call: Call) -> RouteScore:
    ask = Ask(call.toll.task, call.toll.characters, stream=True)
    with ExitStack() as under_way:
        for _ in range(call.load):
            under_way.enter_context(scores.calling(_MODEL))
        return scores.teacher(ask, _MODEL, _PRICE)


def deciding_us(rounds: int = 20_000) -> float:
    """Microseconds of CPU to score both routes and to choose, where much is known."""
    scores = Scores()
    for call in steady(2000, Random(0)):
        scores.learn(call.toll)
        scores.learn(Toll("task-1", "student", "v1", 100, Usage(), 0.001, None, 0))
    bound = Bound()
    ask = Ask("task-1", 1000, stream=True)
    started = time.thread_time()
    for _ in range(rounds):
        teacher = scores.teacher(ask, _MODEL, _PRICE)
        student = scores.student("v1", 0.9, cost=0, waiting=0)
        decide(bound, Options(teacher, student, threshold=0.8), 0.1, 0.5)
    return (time.thread_time() - started) / rounds * 1e6


def learning_us(rounds: int = 20_000) -> float:
    """Microseconds of CPU to learn from one answer."""
    scores = Scores()
    tolls = [call.toll for call in steady(rounds, Random(0))]
    started = time.thread_time()
    for toll in tolls:
        scores.learn(toll)
    return (time.thread_time() - started) / rounds * 1e6


def main(
    calls: Annotated[int, typer.Option(min=10 * _WARM)] = 20_000,
    seed: int = 0,
) -> None:
    """Print pinball losses and coverages, side by side with the plain forecasts (*)."""
    shown = Table(caption="*: mean and standard deviation of all values so far")
    for heading in ("stream", "foretold"):
        shown.add_column(heading)
    for heading in ("p50 loss", "covered", "p95 loss", "covered"):
        shown.add_column(heading, justify="right")
    for stream in (steady, drifting, wandering):
        for name, (ours, plain) in judge(stream(calls, Random(seed))).items():
            shown.add_row(stream.__name__, name, *ours.cells())
            shown.add_row("", f"{name}*", *plain.cells(), style="dim")
        shown.add_section()
    console = Console()
    console.print(shown)
    console.print(f"Scoring both routes and deciding: {deciding_us():.0f} µs of CPU.")
    console.print(f"Learning from an answer: {learning_us():.0f} µs of CPU.")


if __name__ == "__main__":
    typer.run(main)
