"""How soon audits notice that a student has become worse, by simulation.

A student that keeps its promise gives a number of answers. From then on a larger share of them
disagrees with the teacher's, by chance and one as likely as the other. A share of its answers is
audited, drawn by coins as the router draws them, and after every audit that disagrees the product's
own test (``policies.promise.broken``) is made of all audits of the student's life, as the router
makes it: what the student did right before the shift speaks for it afterwards. It is counted how
many audits and how many answers pass from the shift on until the promise is called broken.

Where nothing shifts, it is counted how many students are demoted all the same, once at the usual
rate of disagreement and once at ``alpha`` itself, the worst that keeps the promise.

    python -m bench.detection --runs 1000 --json detection.json

A quantile is over the runs whose student was in service when the shift came. Those that are not
noticed within ``--cap`` answers are among them, so where they are too many there is no quantile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log, log1p, sqrt
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import orjson
import typer
from rich.console import Console
from rich.table import Table
from scipy.special import betainc, betaln

from config.loading import load
from policies.promise import evidence
from telemetry.audits import BLOCK

Ints = npt.NDArray[np.int64]

USUAL = 0.02
BEFORE = [0, 1_000, 10_000]
SHIFTS = [0.1, 0.15, 0.2, 0.3, 0.5]
AUDIT_RATES = [0.02, 0.05, 0.1, 0.2, 0.5]
CAP = 20_000

_LONGEST = 20_000
"""Answers: twice as many take four times as long."""

_MOST = 700.0
"""Logarithm of the largest e-value, as in the product."""

_AT_ONCE = 250
"""Students whose tests are made together: what is computed for them stays in the cache."""

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
class Lives:
    """Audits so far."""

    audits: Ints
    """[runs]."""
    disagreements: Ints
    """[runs, blocks], of each block of audits."""

    @classmethod
    def none(cls, runs: int, most: int) -> Lives:
        """Of students that will have ``most`` audits at most."""
        blocks = ceil(most / BLOCK)
        return cls(np.zeros(runs, np.int64), np.zeros((runs, blocks), np.int64))

    def of(self, some: npt.NDArray[np.bool_]) -> Lives:
        return Lives(self.audits[some], self.disagreements[some])

    def copy(self) -> Lives:
        return Lives(self.audits.copy(), self.disagreements.copy())


@dataclass(frozen=True, slots=True)
class Bets:
    """The test ``policies.promise.broken`` of many students at once, made of a table."""

    delta: float
    allowed: Ints
    """[audits + 1], how many of so many audits may disagree for no more than ``alpha`` to do so."""
    values: npt.NDArray[np.float64]
    """[audits + 1, excess + 1], the e-value of so many audits of which so many more than allowed
    disagree; 0 where no more do. At the last excess any bet alone breaks the promise."""

    @classmethod
    def upon(cls, audits: int, alpha: float, delta: float) -> Bets:
        """For up to so many audits."""
        every = np.arange(audits + 1)
        allowed = np.floor(alpha * every).astype(np.int64)
        last = ceil(audits / BLOCK)
        needed = log(2 * last * (last + 1) / delta)
        # The fewer the audits, the more an excess says.
        most = next(
            excess
            for excess in range(1, audits + 2)
            if allowed[-1] + excess > audits
            or evidence(audits, int(allowed[-1]) + excess, alpha) >= needed
        )
        disagreements = np.minimum(allowed[:, None] + np.arange(most + 1), every[:, None])
        values = np.exp(np.minimum(_evidence(every[:, None], disagreements, alpha), _MOST))
        values[:, 0] = 0.0
        return cls(delta, allowed, values)

    def broken(self, audits: Ints, disagreements: Ints) -> npt.NDArray[np.bool_]:
        """[runs], of so many ``audits``, [runs], by the ``disagreements`` of each block,
        [runs, blocks]."""
        blocks = -(-audits // BLOCK)
        starts = np.arange(blocks.max())
        since = np.maximum(audits[:, None] - BLOCK * starts, 0)
        wrong = disagreements[:, starts[::-1]].cumsum(axis=1)[:, ::-1]
        excess = np.clip(wrong - self.allowed[since], 0, self.values.shape[1] - 1)
        bet = 0.5 / np.maximum(starts * (starts + 1), 1)
        e_values = 0.5 / blocks + self.values[since, excess] @ bet
        return e_values >= 1 / self.delta


def _evidence(audits: Ints, disagreements: Ints, alpha: float) -> npt.NDArray[np.float64]:
    """``policies.promise.evidence`` of arrays."""
    agreements = audits - disagreements
    mixture = betaln(disagreements + 1, agreements + 1) - log1p(-alpha)
    mixture += np.log(betainc(agreements + 1, disagreements + 1, 1 - alpha))
    return np.asarray(mixture - disagreements * log(alpha) - agreements * log1p(-alpha))


def follow(
    rng: np.random.Generator, rate: float, lives: Lives, last: Ints, bets: Bets
) -> tuple[Ints, Lives]:
    """Audit students, ``rate`` of whose answers disagree, from their ``lives`` so far on to
    ``last`` audits.

    Only an audit that disagrees can break the promise, so it goes from one to the next: how many
    audits that is, is a geometric count. Returns the audits, [runs], at which the promise was
    broken, 0 where it was not, and the lives until that moment or the last audit.
    """
    lives = lives.copy()
    reached = np.zeros_like(lives.audits)
    for first in range(0, len(reached), _AT_ONCE):
        going = np.arange(first, min(first + _AT_ONCE, len(reached)))
        while len(going):
            at = lives.audits[going] + rng.geometric(rate, len(going))
            within = at <= last[going]
            going, at = going[within], at[within]
            if not len(going):
                break
            lives.audits[going] = at
            lives.disagreements[going, (at - 1) // BLOCK] += 1
            breaks = bets.broken(at, lives.disagreements[going])
            reached[going[breaks]] = at[breaks]
            going = going[~breaks]
    return reached, Lives(np.where(reached, reached, last), lives.disagreements)


def measure(plan: Plan) -> Measured:
    rng = np.random.default_rng(plan.seed)
    most = {rate: _most(plan, rate) for rate in plan.audit_rates}
    bets = Bets.upon(max(most.values()), plan.alpha, plan.delta)
    calm = [
        _calm(rng, plan, rate, audit_rate, bets)
        for rate in plan.calm_rates
        for audit_rate in plan.audit_rates
    ]
    return Measured(plan, calm, list(_delays(rng, plan, bets)))


def _most(plan: Plan, audit_rate: float) -> int:
    """As many audits as a student will hardly ever have."""
    return _ample(max(plan.before), audit_rate) + _ample(plan.cap, audit_rate)


def _new(plan: Plan, audit_rate: float) -> Lives:
    return Lives.none(plan.runs, _most(plan, audit_rate))


def _calm(rng: np.random.Generator, plan: Plan, rate: float, audit_rate: float, bets: Bets) -> Calm:
    last = rng.binomial(plan.cap, audit_rate, plan.runs)
    reached, _ = follow(rng, rate, _new(plan, audit_rate), last, bets)
    return Calm(rate, audit_rate, float(np.mean(reached > 0)))


def _delays(rng: np.random.Generator, plan: Plan, bets: Bets) -> Iterator[Delay]:
    for before in plan.before:
        for audit_rate in plan.audit_rates:
            last = rng.binomial(before, audit_rate, plan.runs)
            reached, lives = follow(rng, plan.usual, _new(plan, audit_rate), last, bets)
            in_service = lives.of(reached == 0)
            for shift in plan.shifts:
                audits, answers = _shift(rng, shift, in_service, audit_rate, plan.cap, bets)
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
    before: Lives,
    audit_rate: float,
    cap: int,
    bets: Bets,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Audits and answers, [runs] each, from a shift until it is noticed; infinite beyond ``cap``
    answers."""
    reached, _ = follow(rng, shift, before, before.audits + _ample(cap, audit_rate), bets)
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
