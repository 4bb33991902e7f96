"""How soon audits notice that a student has become worse, by simulation.

A student that keeps its promise gives a number of answers. From then on a larger share of them
disagrees with the teacher's, by chance and one as likely as the other. A share of its answers is
audited, drawn by coins as the router draws them, and after every audit that disagrees the product's
own test (``policies.promise.broken``) is asked about all audits of the student's life, as the
router asks it: what the student did right before the shift speaks for it afterwards. It is counted
how many audits and how many answers pass from the shift on until the promise is called broken.

Where nothing shifts, it is counted how many students are demoted all the same, once at the usual
rate of disagreement and once at ``alpha`` itself, the worst that keeps the promise.

    python -m bench.detection --runs 1000 --json detection.json

A quantile is over the runs whose student was in service when the shift came. Those that are not
noticed within ``--cap`` answers are among them, so where they are too many there is no quantile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import orjson
import typer
from rich.console import Console
from rich.table import Table

from config.settings import load
from policies.promise import broken

Ints = npt.NDArray[np.int64]

USUAL = 0.02
BEFORE = [0, 1_000, 10_000]
SHIFTS = [0.1, 0.15, 0.2, 0.3, 0.5]
AUDIT_RATES = [0.02, 0.05, 0.1, 0.2, 0.5]
CAP = 20_000

_LONGEST = 100_000
"""Answers: where the test's edge is for twice as many takes four times as long to find out."""

_DEVIATIONS = 6
"""A binomial count is larger than its mean by more of its standard deviations about once in a
billion times."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    alpha: float
    delta: float
    usual: float
    """Share of the answers that disagree before the shift."""
    before: Sequence[int]
    """Answers before it."""
    shifts: Sequence[float]
    """Shares of the answers that disagree after it."""
    audit_rates: Sequence[float]
    cap: int
    """Answers after the shift, or of a calm run, that are looked at."""
    runs: int
    """Of each combination."""
    seed: int

    @property
    def calm_rates(self) -> Sequence[float]:
        """Shares of the answers that disagree in calm runs."""
        return sorted({self.usual, self.alpha})


@dataclass(frozen=True, slots=True)
class Calm:
    """What became of students that keep their promise."""

    rate: float
    """Share of their answers that disagree."""
    audit_rate: float
    demoted: float
    """Share of the runs."""


@dataclass(frozen=True, slots=True)
class Delay:
    """What it took to notice a shift. A quantile is None where it is beyond the cap."""

    before: int
    audit_rate: float
    shift: float
    runs: int
    """Whose student was in service when the shift came."""
    noticed: float
    """Share of them, within the cap."""
    audits_p50: int | None
    """From the shift on, the one that showed it included; so too the others."""
    audits_p90: int | None
    answers_p50: int | None
    answers_p90: int | None


@dataclass(frozen=True, slots=True)
class Measured:
    """All figures of a plan."""

    plan: Plan
    calm: Sequence[Calm]
    delays: Sequence[Delay]


@dataclass(frozen=True, slots=True)
class Tallies:
    """Audits so far, [runs] each."""

    audits: Ints
    disagreements: Ints

    @classmethod
    def none(cls, runs: int) -> Tallies:
        return cls(np.zeros(runs, np.int64), np.zeros(runs, np.int64))

    def of(self, some: npt.NDArray[np.bool_]) -> Tallies:
        return Tallies(self.audits[some], self.disagreements[some])


def frontier(alpha: float, delta: float, audits: int) -> Ints:
    """At ``[k]`` the most audits of which ``k`` disagreements break the promise.

    It is less than ``k`` where none is few enough. It ends at the first that is ``audits`` or more.
    Found with the product's test, which one more audit that agrees can only turn to "kept".
    """
    most, step = [-1], 1
    while most[-1] < audits:
        disagreements = len(most)
        found = max(disagreements, most[-1] + step)
        while broken(found + 1, disagreements, alpha, delta):
            found += 1
        while found >= disagreements and not broken(found, disagreements, alpha, delta):
            found -= 1
        # The next is about as far away again.
        step = found - most[-1]
        most.append(found)
    return np.array(most)


def follow(
    rng: np.random.Generator, rate: float, tallies: Tallies, last: Ints, edge: Ints
) -> tuple[Ints, Tallies]:
    """Audit students, ``rate`` of whose answers disagree, from ``tallies`` on to ``last`` audits.

    Only an audit that disagrees can break the promise, so it goes from one to the next: how many
    audits that is, is a geometric count. Returns the audits, [runs], at which the ``edge`` (of
    `frontier`) was reached, 0 where it was not, and the tallies at that moment or at the last.
    """
    audits, disagreements = tallies.audits.copy(), tallies.disagreements.copy()
    reached = np.zeros_like(audits)
    going = np.arange(len(audits))
    while len(going):
        at = audits[going] + rng.geometric(rate, len(going))
        within = at <= last[going]
        going, at = going[within], at[within]
        audits[going] = at
        disagreements[going] += 1
        breaks = at <= edge[disagreements[going]]
        reached[going[breaks]] = at[breaks]
        going = going[~breaks]
    return reached, Tallies(np.where(reached, reached, last), disagreements)


def measure(plan: Plan) -> Measured:
    rng = np.random.default_rng(plan.seed)
    most = max(_ample(max(plan.before) + plan.cap, rate) for rate in plan.audit_rates)
    edge = frontier(plan.alpha, plan.delta, most)
    calm = [
        _calm(rng, plan, rate, audit_rate, edge)
        for rate in plan.calm_rates
        for audit_rate in plan.audit_rates
    ]
    return Measured(plan, calm, list(_delays(rng, plan, edge)))


def _calm(rng: np.random.Generator, plan: Plan, rate: float, audit_rate: float, edge: Ints) -> Calm:
    last = rng.binomial(plan.cap, audit_rate, plan.runs)
    reached, _ = follow(rng, rate, Tallies.none(plan.runs), last, edge)
    return Calm(rate, audit_rate, float(np.mean(reached > 0)))


def _delays(rng: np.random.Generator, plan: Plan, edge: Ints) -> Iterator[Delay]:
    for before in plan.before:
        for audit_rate in plan.audit_rates:
            last = rng.binomial(before, audit_rate, plan.runs)
            reached, tallies = follow(rng, plan.usual, Tallies.none(plan.runs), last, edge)
            in_service = tallies.of(reached == 0)
            for shift in plan.shifts:
                audits, answers = _shift(rng, shift, in_service, audit_rate, plan.cap, edge)
                yield Delay(
                    before,
                    audit_rate,
                    shift,
                    len(answers),
                    float(np.mean(np.isfinite(answers))),
                    *(_quantile(audits, 0.5), _quantile(audits, 0.9)),
                    *(_quantile(answers, 0.5), _quantile(answers, 0.9)),
                )


def _shift(
    rng: np.random.Generator,
    shift: float,
    before: Tallies,
    audit_rate: float,
    cap: int,
    edge: Ints,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Audits and answers, [runs] each, from a shift until it is noticed; infinite beyond ``cap``
    answers."""
    reached, _ = follow(rng, shift, before, before.audits + _ample(cap, audit_rate), edge)
    found = np.flatnonzero(reached)
    audits = np.full(len(reached), np.inf)
    answers = audits.copy()
    audits[found] = reached[found] - before.audits[found]
    # What an answer is does not depend on its coin, so the answers that nobody audits come between
    # as they would in any case.
    answers[found] = audits[found] + rng.negative_binomial(audits[found], audit_rate)
    unseen = answers > cap
    audits[unseen] = answers[unseen] = np.inf
    return audits, answers


def _ample(answers: int, audit_rate: float) -> int:
    """As many audits as so many answers will hardly ever have."""
    mean = answers * audit_rate
    return min(answers, ceil(mean + _DEVIATIONS * sqrt(mean * (1 - audit_rate))))


def _quantile(counts: npt.NDArray[np.float64], level: float) -> int | None:
    value = np.quantile(counts, level, method="inverted_cdf") if len(counts) else np.inf
    return int(value) if np.isfinite(value) else None


def show(measured: Measured, console: Console) -> None:
    plan = measured.plan
    console.print(f"alpha {plan.alpha:g}, delta {plan.delta:g}, {plan.runs:,} runs of each kind")
    console.print(_calm_table(plan, measured.calm))
    for before in plan.before:
        delays = [delay for delay in measured.delays if delay.before == before]
        console.print(_delay_table(plan, before, delays))


def _calm_table(plan: Plan, calm: Sequence[Calm]) -> Table:
    table = _table(
        f"Nothing shifts: demoted within {plan.cap:,} answers, promised: at most {plan.delta:.1%}",
        ("disagree",),
        plan.audit_rates,
    )
    for rate in plan.calm_rates:
        demoted = (f"{one.demoted:.1%}" for one in calm if one.rate == rate)
        table.add_row(f"{rate:.1%}", *demoted)
    return table


def _delay_table(plan: Plan, before: int, delays: Sequence[Delay]) -> Table:
    table = _table(
        f"After {before:,} answers of which {plan.usual:.1%} disagree: median / 90th percentile; "
        f">: beyond {plan.cap:,} answers",
        ("then", "until noticed"),
        plan.audit_rates,
    )
    for shift in plan.shifts:
        ours = [delay for delay in delays if delay.shift == shift]
        audits = (_pair(one.audits_p50, one.audits_p90) for one in ours)
        answers = (_pair(one.answers_p50, one.answers_p90) for one in ours)
        table.add_row(f"{shift:.1%}", "audits", *audits)
        table.add_row("", "answers", *answers)
        table.add_row("", "noticed", *(f"{one.noticed:.1%}" for one in ours), style="dim")
        table.add_section()
    return table


def _table(title: str, headings: Sequence[str], audit_rates: Sequence[float]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading)
    for rate in audit_rates:
        table.add_column(f"{rate:.1%} audited", justify="right")
    return table


def _pair(median: int | None, most: int | None) -> str:
    return " / ".join(">" if value is None else f"{value:,}" for value in (median, most))


def main(
    runs: Annotated[int, typer.Option(help="Of each combination.", min=100)] = 4000,
    usual: Annotated[
        float, typer.Option(help="Share that disagrees before the shift.", min=0.001)
    ] = USUAL,
    before: Annotated[
        list[int], typer.Option(help="Answers before it; may be repeated.", min=0, max=_LONGEST)
    ] = BEFORE,
    shift: Annotated[
        list[float], typer.Option(help="Share that disagrees after it; may be repeated.", max=1)
    ] = SHIFTS,
    audit_rate: Annotated[
        list[float], typer.Option(help="May be repeated.", min=0.001, max=1)
    ] = AUDIT_RATES,
    cap: Annotated[
        int, typer.Option(help="Answers to look at after the shift.", min=1, max=_LONGEST)
    ] = CAP,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here too.")
    ] = None,
) -> None:
    """Print how many audits and answers pass until a shift is noticed."""
    policy = load().policy
    if usual > policy.alpha:
        raise typer.BadParameter(f"--usual {usual:g} is above alpha, {policy.alpha:g}")
    if min(shift) <= policy.alpha:
        raise typer.BadParameter(f"--shift {min(shift):g} is not above alpha, {policy.alpha:g}")
    plan = Plan(
        alpha=policy.alpha,
        delta=policy.delta,
        usual=usual,
        before=sorted(set(before)),
        shifts=sorted(set(shift)),
        audit_rates=sorted(set(audit_rate)),
        cap=cap,
        runs=runs,
        seed=seed,
    )
    measured = measure(plan)
    show(measured, Console(width=120))
    if json_file is not None:
        json_file.write_bytes(orjson.dumps(measured, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    typer.run(main)
