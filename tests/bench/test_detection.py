"""The bench of detection: what it counts is what the product's test does."""

from __future__ import annotations

from dataclasses import fields, replace
from io import StringIO

import numpy as np
import orjson
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from bench.detection import Bets, Calm, Delay, Lives, Plan, follow, main, measure, show
from policies.promise import broken, restarted
from telemetry.audits import AuditTally, add

ALPHA = DELTA = 0.05
PLAN = Plan(
    alpha=ALPHA,
    delta=DELTA,
    usual=0.02,
    before=(0, 4000),
    shifts=(0.15, 0.3, 0.5),
    audit_rates=(0.05, 0.2),
    cap=10_000,
    runs=2000,
    seed=1,
)


@pytest.fixture(scope="module")
def measured():
    return measure(PLAN)


@pytest.fixture(scope="module")
def delays(measured):
    return {(one.before, one.audit_rate, one.shift): one for one in measured.delays}


def invoke(*arguments):
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, list(arguments))


def blocks(life):
    """The blocks of the only run."""
    counts = life.disagreements[0]
    whole, left = divmod(int(life.audits[0]), 25)
    sizes = [25] * whole + ([left] if left else [])
    return [AuditTally(*each) for each in zip(sizes, map(int, counts), strict=False)]


@pytest.mark.parametrize(("alpha", "delta"), [(0.05, 0.05), (0.2, 0.01)])
def test_the_promise_is_broken_where_the_products_test_says_so(alpha, delta):
    rng = np.random.default_rng(3)
    bets = Bets.upon(700, alpha, delta)
    for rate in (alpha / 2, alpha, 2 * alpha, 0.8) * 10:
        life = Lives.none(1, 700)
        quiet = rng.integers(0, 400)
        for audit in range(700):
            wrong = rng.random() < (0 if audit < quiet else rate)
            life.disagreements[0, audit // 25] += wrong
            life.audits[0] = audit + 1
            if wrong and audit % 7 == 0:
                (told,) = bets.broken(life.audits, life.disagreements)
                value = restarted(blocks(life), alpha) + np.log(delta)
                assert told == (value >= 0) or abs(value) < 1e-6


def test_students_that_always_disagree_are_followed_to_their_end():
    bets = Bets.upon(100, ALPHA, DELTA)
    first = next(n for n in range(1, 10) if broken([AuditTally(n, n)], ALPHA, DELTA))
    reached, lives = follow(
        np.random.default_rng(0), 1.0, Lives.none(2, 100), np.array([50, first - 1]), bets
    )
    assert reached.tolist() == [first, 0]
    assert lives.audits.tolist() == [first, first - 1]
    assert lives.disagreements[:, 0].tolist() == [first, first - 1]


def played(rng, before, audit_rate, shift):
    """Answers and audits until a shift is noticed, one answer after the other."""
    life: list[AuditTally] = []
    unnoticed = 0
    for answer in range(before + PLAN.cap):
        is_wrong = rng.random() < (PLAN.usual if answer < before else shift)
        if rng.random() >= audit_rate:
            continue
        add(life, agreed=not is_wrong)
        unnoticed += answer >= before
        if is_wrong and broken(life, ALPHA, DELTA):
            return answer - before + 1, unnoticed
    return np.inf, np.inf


@pytest.mark.parametrize("before", PLAN.before)
def test_it_counts_what_playing_every_answer_counts(before, delays):
    rng = np.random.default_rng(2)
    delay = delays[before, 0.05, 0.3]
    runs = np.array([played(rng, before, 0.05, 0.3) for _ in range(300)])
    runs = runs[runs[:, 0] > 0]
    for column, median, most in (
        (runs[:, 0], delay.answers_p50, delay.answers_p90),
        (runs[:, 1], delay.audits_p50, delay.audits_p90),
    ):
        # The share of so many runs below a quantile is within three of its deviations.
        assert np.mean(column < median) <= 0.5 + 0.09
        assert np.mean(column <= median) >= 0.5 - 0.09
        assert np.mean(column < most) <= 0.9 + 0.055
        assert np.mean(column <= most) >= 0.9 - 0.055


@pytest.mark.parametrize("before", PLAN.before)
@pytest.mark.parametrize("audit_rate", PLAN.audit_rates)
def test_a_greater_shift_is_noticed_sooner(before, audit_rate, delays):
    small, middle, large = (delays[before, audit_rate, shift] for shift in PLAN.shifts)
    assert small.audits_p50 > middle.audits_p50 > large.audits_p50
    assert small.answers_p90 > middle.answers_p90 > large.answers_p90
    assert large.noticed == 1.0


@pytest.mark.parametrize("shift", PLAN.shifts)
def test_audits_do_not_depend_on_the_audit_rate_and_answers_do(shift, delays):
    seldom, often = (delays[0, audit_rate, shift] for audit_rate in PLAN.audit_rates)
    # A median moves by whole disagreements; it is 4 or 5 audits of which half disagree.
    assert seldom.audits_p50 == pytest.approx(often.audits_p50, rel=0.15, abs=2)
    assert seldom.answers_p50 == pytest.approx(4 * often.answers_p50, rel=0.25)


@pytest.mark.parametrize("shift", PLAN.shifts)
def test_good_audits_of_long_ago_delay_it(shift, delays):
    for audit_rate in PLAN.audit_rates:
        assert delays[4000, audit_rate, shift].audits_p50 > delays[0, audit_rate, shift].audits_p50
    # The same answers are more audits at the higher rate, and speak the louder for the student.
    seldom, often = (delays[4000, audit_rate, shift] for audit_rate in PLAN.audit_rates)
    assert often.audits_p50 > seldom.audits_p50


def test_calm_students_are_seldom_demoted(measured):
    assert {(one.rate, one.audit_rate) for one in measured.calm} == {
        (rate, audit_rate) for rate in (0.02, ALPHA) for audit_rate in PLAN.audit_rates
    }
    deviation = np.sqrt(DELTA * (1 - DELTA) / PLAN.runs)
    for one in measured.calm:
        assert one.demoted <= DELTA + 3 * deviation
    at_alpha = sum(one.demoted for one in measured.calm if one.rate == ALPHA)
    assert at_alpha > 0
    assert sum(one.demoted for one in measured.calm if one.rate == 0.02) < at_alpha


def test_what_is_not_noticed_within_the_cap_has_no_quantile():
    plan = replace(PLAN, cap=20, shifts=(0.15,), audit_rates=(0.05,), before=(4000,))
    (delay,) = measure(plan).delays
    assert delay.noticed == 0
    assert delay.audits_p50 is delay.answers_p90 is None


def test_half_is_noticed_within_as_many_answers_as_the_median(delays):
    cap = delays[4000, 0.2, 0.3].answers_p50
    plan = replace(PLAN, cap=cap, shifts=(0.3,), audit_rates=(0.2,), before=(4000,))
    (delay,) = measure(plan).delays
    assert delay.noticed == pytest.approx(0.5, abs=0.05)
    assert delay.answers_p90 is None


def test_figures_are_the_same_again(measured):
    assert measure(PLAN) == measured
    assert measure(replace(PLAN, seed=2)) != measured


def test_tables_hold_a_column_for_each_audit_rate(measured, delays):
    out = StringIO()
    show(measured, Console(width=120, file=out))
    printed = out.getvalue()
    assert printed.count("5.0% audited") == printed.count("20.0% audited") == 3
    delay = delays[4000, 0.05, 0.3]
    assert f"{delay.answers_p50:,} / {delay.answers_p90:,}" in printed


def test_json_has_the_documented_keys(tmp_path):
    file = tmp_path / "figures.json"
    options = ("--shift", "0.3", "--shift", "0.3", "--before", "0", "--audit-rate", "0.1")
    done = invoke("--runs", "100", "--cap", "1000", *options, "--json", str(file))
    assert done.exit_code == 0, done.output
    figures = orjson.loads(file.read_bytes())
    assert list(figures) == ["plan", "calm", "delays"]
    assert set(figures["plan"]) == {field.name for field in fields(Plan)}
    assert [set(one) for one in figures["calm"]] == [{field.name for field in fields(Calm)}] * 2
    (delay,) = figures["delays"]
    assert set(delay) == {field.name for field in fields(Delay)}
    assert delay["noticed"] == 1.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shift", "0.05"), "--shift 0.05 is not above alpha, 0.05"),
        (("--usual", "0.06"), "--usual 0.06 is above alpha, 0.05"),
        (("--audit-rate", "0"), "'--audit-rate'"),
        (("--before", "-1"), "'--before'"),
    ],
)
def test_bad_input_is_refused_in_a_line(options, said):
    done = invoke("--runs", "100", *options)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output
