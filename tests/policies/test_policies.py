"""What every policy promises, whatever the scores are."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from policies.budget import Budget
from policies.deadline import Deadline
from policies.decision import decide
from policies.fixed import Random, Student, Teacher
from policies.policy import Options, Policy
from policies.scores import RouteScore
from policies.threshold import Bound, Cascade
from policies.utility import Utility

shares = st.floats(0, 1)
seconds = st.floats(0, 100)
costs = st.integers(0, 10**13)
weights = st.floats(0, 10)


def scores(agreement: st.SearchStrategy[float] = shares) -> st.SearchStrategy[RouteScore]:
    return st.builds(
        RouteScore, cost=costs, latency_s=seconds, agreement=agreement, latency_p95_s=seconds
    )


options = st.builds(
    Options,
    teacher=scores(st.just(1.0)),
    student=scores(),
    threshold=shares,
    deadline_s=st.none() | seconds,
)


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    """Budgets that have seen requests, at any share."""
    budget = Budget()
    for cost, seen in draw(st.lists(st.tuples(costs, st.none() | options), max_size=20)):
        budget.saw(cost, seen)
    budget.share = draw(shares)
    return budget


policies: st.SearchStrategy[Policy] = st.one_of(
    st.just(Bound()),
    st.builds(Cascade, threshold=shares),
    st.builds(Utility, quality=weights, usd=weights, second=weights),
    st.builds(Deadline, seconds=seconds),
    st.sampled_from([Teacher(), Student()]),
    st.builds(Random, share=shares),
    budgets(),
)


@given(policies, options, shares, st.floats(0, 1, exclude_max=True))
def test_a_decision(policy: Policy, seen: Options, audit_rate: float, draw: float) -> None:
    chance = policy.choose(seen).student
    assert 0 <= chance <= 1
    decision = decide(policy, seen, audit_rate, draw)
    assert decision.route == ("student" if draw < chance else "teacher")
    # Whoever answers, the teacher's answer was to be had with this probability.
    assert decision.propensity == pytest.approx((1 - chance) + chance * audit_rate)
    assert decision.policy == policy.name
    assert (decision.teacher, decision.student) == (seen.teacher, seen.student)


@given(policies, options, st.integers(0, 10**13))
def test_a_dearer_teacher_is_never_asked_more(policy: Policy, seen: Options, more: int) -> None:
    dearer = seen._replace(teacher=replace(seen.teacher, cost=seen.teacher.cost + more))
    assert policy.choose(dearer).student >= policy.choose(seen).student


@given(policies, options, seconds)
def test_a_slower_teacher_is_never_asked_more(policy: Policy, seen: Options, more: float) -> None:
    teacher = seen.teacher
    slower = replace(
        teacher,
        latency_s=teacher.latency_s + more,
        latency_p95_s=teacher.latency_p95_s + more,
    )
    assert policy.choose(seen._replace(teacher=slower)).student >= policy.choose(seen).student


@given(policies, options, shares)
def test_a_student_that_is_less_sure_never_answers_more(
    policy: Policy, seen: Options, less: float
) -> None:
    unsure = replace(seen.student, agreement=seen.student.agreement * less)
    assert policy.choose(seen._replace(student=unsure)).student <= policy.choose(seen).student


@given(policies, options, seconds)
def test_more_time_never_makes_the_student_answer(
    policy: Policy, seen: Options, more: float
) -> None:
    assert seen.deadline_s is None or (
        policy.choose(seen._replace(deadline_s=seen.deadline_s + more)).student
        <= policy.choose(seen).student
    )


@given(policies, options, shares)
def test_a_stricter_threshold_never_makes_the_student_answer(
    policy: Policy, seen: Options, more: float
) -> None:
    """A smaller ``alpha`` takes a higher threshold."""
    stricter = seen._replace(threshold=seen.threshold + more)
    assert policy.choose(stricter).student <= policy.choose(seen).student


@given(options)
def test_bound_keeps_to_what_was_tested(seen: Options) -> None:
    assert Bound().choose(seen).student == float(seen.student.agreement >= seen.threshold)


@given(options, shares)
def test_a_cascade_keeps_to_its_own_threshold(seen: Options, threshold: float) -> None:
    chosen = Cascade(threshold).choose(seen).student
    assert chosen == float(seen.student.agreement >= threshold)


@given(options)
def test_whoever_is_fixed_always_answers(seen: Options) -> None:
    assert Teacher().choose(seen).student == 0
    assert Student().choose(seen).student == 1


@given(options)
def test_utility_weighs_quality_money_and_time(seen: Options) -> None:
    assert Utility(quality=1, usd=0, second=0).choose(seen).student == float(
        seen.student.agreement >= 1
    )
    thrift = Utility(quality=0, usd=1, second=0).choose(seen).student
    assert thrift == float(seen.student.cost / 1e12 <= seen.teacher.cost / 1e12)
    haste = Utility(quality=0, usd=0, second=1).choose(seen).student
    assert haste == float(seen.student.latency_s <= seen.teacher.latency_s)


def test_utility_by_hand() -> None:
    seen = Options(RouteScore(2 * 10**9, 1.0, 1.0), RouteScore(0, 0.0, 0.7), 0.9)
    # 0.3 of a right answer against 0.002 USD and a second.
    assert Utility(quality=0.01, usd=1, second=0).choose(seen).student == 0
    assert Utility(quality=0.01, usd=1, second=0.001).choose(seen).student == 0
    assert Utility(quality=0.01, usd=1, second=0.002).choose(seen).student == 1
    assert Utility(quality=0.006, usd=1, second=0).choose(seen).student == 1


@given(options, seconds)
def test_a_late_teacher_is_stood_in_for(seen: Options, within: float) -> None:
    limit = within if seen.deadline_s is None else seen.deadline_s
    choice = Deadline(within).choose(seen)
    if seen.teacher.latency_p95_s > limit:
        assert choice == (1.0, "deadline")
    else:
        assert choice == Bound().choose(seen)


@given(shares, st.integers(0, 2**32))
def test_random_keeps_to_its_share(share: float, seed: int) -> None:
    """As far as chance does."""
    rng = random.Random(seed)
    seen = Options(RouteScore(1, 1.0, 1.0), RouteScore(0, 0.0, 0.5), 0.9)
    routes = [decide(Random(share), seen, 0.1, rng.random()).route for _ in range(1000)]
    answered, expected = routes.count("student"), binom(1000, share)
    assert min(expected.cdf(answered), expected.sf(answered - 1)) > 1e-7
