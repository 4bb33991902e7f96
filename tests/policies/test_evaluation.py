"""What another policy would have come to, against really running it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.replay import POLICIES, Request, draw, measure, run
from policies.estimation import Estimate, disagreement, mean, quantile
from policies.evaluation import (
    Outcome,
    at_threshold,
    average_quality,
    frontier,
    happened,
    random_control,
    replay,
    upper_hull,
    within_bound,
)
from policies.fixed import Random, Student, Teacher
from policies.history import History, read
from policies.policy import Policy
from policies.threshold import Bound, Cascade
from telemetry.past import Past

AUDIT_RATE = 0.2


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def logged(
    requests: int = 1500, seed: int = 0, audit_rate: float = AUDIT_RATE, by: Policy | None = None
) -> tuple[list[Request], list[Past]]:
    stream = draw(rng(seed), requests, overconfidence=1.5)
    return stream, list(run(stream, by or Bound(), audit_rate, rng(seed + 1)))


def replayed(log: Sequence[Past], policy: Policy) -> tuple[History, Outcome]:
    history = read(log, policy)
    return history, replay(history, history.chance, AUDIT_RATE)


def covers(estimate: Estimate, value: float) -> bool:
    return estimate.low - 1e-9 <= value <= estimate.high + 1e-9


def test_intervals_cover_what_really_running_the_policy_shows() -> None:
    streams = 50
    same, large = measure(streams, 500, 0.1, overconfidence=1.5, population=10_000)
    # Three standard errors below: of so many intervals that cover with 95%.
    least = 0.95 - 3 * (0.95 * 0.05 / streams) ** 0.5
    for policy, _ in POLICIES:
        for figure in ("usd", "latency_s", "p95_s", "wrong"):
            if policy == "student" and figure in ("latency_s", "p95_s"):
                continue  # Of milliseconds; half of them are not known.
            assert same.share(policy, figure) >= least, (policy, figure)
            assert large.share(policy, figure) >= least, (policy, figure)
    # An interval that is always right by telling nothing would pass as well.
    assert same.width("threshold 0.80", "wrong") < 0.5 * same.width(
        "threshold 0.80", "wrong, Bernstein"
    )


def test_estimators_agree_with_the_truth_in_a_large_log() -> None:
    stream, log = logged(20_000)
    history = read(log, Student())
    found = disagreement(history, history.chance)
    assert found is not None
    true = np.mean([request.wrong for request in stream])
    for estimate in (found.of_student_answers.value, found.ips, found.snips):
        assert estimate == pytest.approx(true, abs=0.01)
    assert found.of_all_answers == found.of_student_answers


def test_a_log_of_a_random_policy_tells_of_others_too() -> None:
    stream, log = logged(20_000, by=Random(0.5))
    assert {past.route for past in log} == {"teacher", "student"}
    history = read(log, Cascade(0.95))
    found = disagreement(history, history.chance)
    assert found is not None
    sure = [request for request in stream if request.options.student.agreement >= 0.95]
    true = np.mean([request.wrong for request in sure])
    for estimate in (found.of_student_answers.value, found.ips, found.snips):
        assert estimate == pytest.approx(true, abs=0.01)


def test_the_policy_in_force_replays_to_what_happened() -> None:
    _, log = logged()
    history, outcome = replayed(log, Bound())
    was = happened(history)
    assert outcome.student_share == was.student_share
    assert outcome.disagreement == was.disagreement
    assert covers(outcome.usd, was.usd.value)
    assert covers(outcome.latency_s, was.latency_s.value)
    assert was.usd.value == pytest.approx(sum(p.cost + p.audit_cost for p in log) / 1e12)


def test_the_teacher_alone_never_disagrees_and_the_student_is_never_dearer() -> None:
    _, log = logged()
    teacher = replayed(log, Teacher())[1]
    student = replayed(log, Student())[1]
    assert teacher.disagreement is None
    assert (teacher.quality, teacher.student_share.value) == (1.0, 0.0)
    assert student.student_share.value == 1.0
    assert student.usd.value < teacher.usd.value
    assert student.latency_s.value < teacher.latency_s.value


@pytest.mark.parametrize("threshold", [0.7, 0.9, 0.97])
def test_the_control_costs_as_much_and_is_wrong_more_often(threshold: float) -> None:
    history, outcome = replayed(logged(4000)[1], Cascade(threshold))
    control = replay(history, random_control(history, outcome.usd.value, AUDIT_RATE), AUDIT_RATE)
    assert control.usd.value == pytest.approx(outcome.usd.value)
    assert control.quality < outcome.quality


def test_a_control_cannot_cost_more_than_the_teacher() -> None:
    history, _ = replayed(logged()[1], Bound())
    assert not random_control(history, 1e9, AUDIT_RATE).any()
    assert np.array_equal(random_control(history, 0.0, AUDIT_RATE), history.able)


def test_few_audits_do_not_prove_that_a_student_is_always_right() -> None:
    _, log = logged(300)
    audited = 0
    right: list[Past] = []
    for past in log:
        if past.route == "student":
            past = replace(past, agreed=None if past.agreed is None else True)
            audited += past.agreed is not None
            right.append(past)
    history = read(right, Bound())
    found = disagreement(history, history.chance)
    assert found is not None
    assert 0 < audited < 100
    # Clopper and Pearson's upper end for none among so many.
    assert found.of_student_answers.high >= 0.9 * (1 - 0.025 ** (1 / audited))


def test_without_any_audit_nothing_is_known_of_the_students_answers() -> None:
    log = [replace(p, agreed=None, audit_latency_s=None, audit_cost=0) for p in logged()[1]]
    history, outcome = replayed([p for p in log if p.route == "student"], Bound())
    assert outcome.disagreement is not None
    assert outcome.disagreement.of_student_answers.low == 0.0
    assert outcome.disagreement.of_student_answers.high == 1.0
    assert np.isnan(outcome.disagreement.snips)
    teacher = replay(history, np.zeros(len(history)), AUDIT_RATE)
    assert np.isnan(teacher.p95_s.value)
    expected = sum(
        p.options.teacher.cost for p, q in zip(*logged(), strict=True) if q.route[0] == "s"
    )
    assert teacher.usd.value == pytest.approx(expected / 1e12)


def test_audits_that_failed_do_not_bias() -> None:
    stream, log = logged(20_000)
    chance = rng(7)
    kept = [
        replace(p, agreed=None, audit_latency_s=None, audit_cost=0)
        if p.agreed is not None and chance.random() < 0.5
        else p
        for p in log
    ]
    history, outcome = replayed(kept, Student())
    true = np.mean([request.wrong for request in stream])
    assert outcome.disagreement is not None
    assert outcome.disagreement.of_student_answers.value == pytest.approx(true, abs=0.015)
    teacher = replay(history, np.zeros(len(history)), AUDIT_RATE)
    paid = sum(request.teacher_cost for request in stream) / 1e12
    assert teacher.usd.value == pytest.approx(paid, rel=0.02)


def test_what_is_left_out() -> None:
    _, log = logged(100)
    teacher = next(p for p in log if p.route == "teacher")
    odd = [
        replace(teacher, decision=None, propensity=None),
        replace(teacher, status=502, finish_reason=None),
        replace(teacher, finish_reason=None),
        replace(teacher, kept=False),
        replace(teacher, route="student"),
        replace(teacher, route="student", propensity=0.0),
        replace(next(p for p in log if p.route == "student"), propensity=0.0),
    ]
    history = read([*log, *odd], Bound())
    assert len(history) == len(log)
    left_out = {"forced": 1, "failed": 2, "private": 1, "fallback": 2, "unpaid": 1}
    assert history.left_out == left_out
    assert replay(history, history.chance, AUDIT_RATE) == replayed(log, Bound())[1]


def test_an_answer_that_was_cut_off_says_nothing_of_the_students() -> None:
    unsure = next(p for p in logged(100)[1] if p.route == "teacher" and p.student_answer == "yes")
    cut = replace(unsure, finish_reason="length")
    wrong = read([unsure, cut, replace(unsure, teacher_answer=None)], Bound()).wrong
    np.testing.assert_array_equal(wrong, [0.0, np.nan, np.nan])


@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_what_a_hosted_student_was_not_asked_for_is_unknown(finish_reason: str) -> None:
    _, log = logged(500)
    hosted = [replace(p, student_answer=None) if p.route == "teacher" else p for p in log]
    answers = (number for number, p in enumerate(hosted) if p.route == "teacher")
    for number in list(answers)[:20]:
        hosted[number] = replace(hosted[number], finish_reason=finish_reason)
    history, outcome = replayed(hosted, Student())
    assert np.isnan(history.wrong[history.served == 0]).all()
    assert outcome.disagreement is not None
    assert outcome.disagreement.of_student_answers.value < 0.3


def test_a_student_that_a_rule_forbids_never_answers() -> None:
    _, log = logged(100)
    teacher = next(p for p in log if p.route == "teacher")
    assert teacher.decision is not None
    ruled = teacher.decision.replace("student_unsure", "max_tokens")
    unasked = teacher.decision.replace('"student":{', '"student":null,"was":{')
    history = read(
        [*log, replace(teacher, decision=ruled), replace(teacher, decision=unasked)], Student()
    )
    assert history.able[-2:].tolist() == [0.0, 0.0]
    assert history.chance[-2:].tolist() == [0.0, 0.0]
    assert not at_threshold(history, 0.0)[-2:].any()


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_thresholds_that_are_chosen_for_a_bound_keep_it(alpha: float) -> None:
    shares = []
    for seed in range(5):
        stream, log = logged(6000, seed=10 * seed)
        chance = within_bound(read(log, Bound()), alpha)
        wrong = np.array([request.wrong for request in stream])
        assert chance @ wrong <= alpha * chance.sum() * 1.2
        shares.append(chance.mean())
    assert min(shares) > 0


def test_a_laxer_bound_lets_students_answer_more() -> None:
    history = read(logged(6000)[1], Bound())
    shares = [within_bound(history, alpha).mean() for alpha in (0.0, 0.03, 0.06, 0.12, 1.0)]
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert shares[-1] > 0.9


def test_frontier() -> None:
    history = read(logged(3000)[1], Bound())
    found = frontier(history, AUDIT_RATE)
    costs = [point.outcome.usd.value for point in found.points]
    thresholds = [point.threshold for point in found.points[1:]]
    assert found.points[0].threshold is None
    assert found.points[0].outcome.quality == 1.0
    assert costs == sorted(costs, reverse=True)
    assert thresholds == sorted(thresholds, key=lambda threshold: -(threshold or 0))
    assert found.points[-1].outcome.student_share.value == 1.0
    worst = found.points[-1].outcome.quality
    assert found.random_aiq == pytest.approx((1 + worst) / 2)
    assert found.random_aiq < found.aiq <= 1.0
    assert found.operating == happened(history)


corners = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=12)


@given(corners)
def test_the_hull_is_over_all_points_concave_and_never_falls(
    points: list[tuple[float, float]],
) -> None:
    hull = upper_hull(points)
    costs, heights = zip(*hull, strict=True)
    assert list(costs) == sorted(set(costs))
    assert all(b >= a - 1e-9 for a, b in pairwise(heights))
    for cost, quality in points:
        assert np.interp(cost, costs, heights) >= quality - 1e-6
    assert min(points)[0] == costs[0]
    assert max(points)[0] == costs[-1]
    best = max(quality for _, quality in points)
    lowest = max(quality for cost, quality in points if cost == costs[0])
    assert lowest - 1e-9 <= average_quality(points) <= best + 1e-9


def test_average_quality_by_hand() -> None:
    assert average_quality([(0, 0.5), (2, 1.0)]) == 0.75
    # A point below the line changes nothing, one above it does.
    assert average_quality([(0, 0.5), (2, 1.0), (1, 0.6)]) == 0.75
    assert average_quality([(0, 0.5), (2, 1.0), (1, 0.9)]) == pytest.approx(0.825)
    # To pay more for less is no improvement.
    assert average_quality([(0, 0.5), (1, 1.0), (2, 0.2)]) == pytest.approx(0.875)
    assert average_quality([(1, 0.4), (1, 0.6)]) == 0.6


@settings(max_examples=50)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.floats(0, 1))
def test_estimates_lie_within_their_intervals(values: list[float], chance: float) -> None:
    values_ = np.array(values)
    ones = np.ones(len(values))
    branches = ((chance * ones, values_), ((1 - chance) * ones, 0 * values_))
    average = mean(*branches)
    assert average.value == pytest.approx(chance * values_.mean())
    assert average.low <= average.value <= average.high
    middle = quantile(0.5, (ones, ones, values_))
    assert middle.low <= middle.value <= middle.high
    assert min(values) <= middle.low
    assert middle.high <= max(values)
