"""Whether a budget is spent in full, never exceeded, and on what it does the most for."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.budget import Budget
from policies.pacing import SLOT_S, Demand, Prices
from policies.policy import Options
from policies.scores import RouteScore

DAY_S = 86400
REFRESH_S = 15
"""How often the share that can be paid is found anew."""


@dataclass(frozen=True)
class Request:
    """One request of the simulation."""

    time: float
    expected: int
    cost: int
    risk: float

    @property
    def options(self) -> Options:
        teacher = RouteScore(self.expected, 1.0, 1.0)
        return Options(teacher, RouteScore(0, 0.0, 1.0 - self.risk), 0.9)


@dataclass(frozen=True)
class Day:
    """What became of a day's budget, as shares of it, and of the best that hindsight could do."""

    spent: float
    quality: float
    at_random: float
    """Quality of a random choice of the same cost."""


def traffic(rng: random.Random, day: int, idle: tuple[int, int]) -> Iterator[Request]:
    """Some 2,000 requests: by the hour of day, none in the idle hours, bursts of 20 minutes of
    eight times the requests, and days that are busier than others."""
    start = day * DAY_S
    bursts = [start + rng.uniform(0, DAY_S) for _ in range(3)]
    level = math.exp(rng.gauss(0, 0.2))
    time = float(start)
    while (time := time + rng.expovariate(0.4 * level)) < start + DAY_S:
        hour = time % DAY_S / 3600
        if idle[0] <= hour < idle[1]:
            continue
        rate = 0.03 * (1 + 0.7 * math.sin((hour - 6) / 24 * math.tau))
        rate *= 8 if any(burst <= time < burst + 1200 for burst in bursts) else 1
        if rng.random() < rate / 0.4:
            expected = int(2e9 * math.exp(rng.gauss(0, 0.6)))
            cost = int(expected * rng.uniform(0.4, 1.6))
            yield Request(time, expected, cost, rng.betavariate(0.5, 2))


def simulate(seed: int, idle: tuple[int, int], part: float, days: int = 3) -> list[Day]:
    """Days with a budget of that ``part`` of a usual day's demand, after one without any."""
    rng = random.Random(seed)
    demand, policy = Demand(), Budget()
    for request in traffic(rng, 0, idle):
        demand.add(request.time, request.cost)
        policy.saw(request.expected, request.options)
    budget = int(part * demand.forecast(DAY_S, 2 * DAY_S, DAY_S))
    return [
        run(list(traffic(rng, day, idle)), day, budget, demand, policy, rng)
        for day in range(1, days + 1)
    ]


def run(
    requests: list[Request],
    day: int,
    budget: int,
    demand: Demand,
    policy: Budget,
    rng: random.Random,
) -> Day:
    start, spent, saved, refreshed = day * DAY_S, 0, 0.0, -math.inf
    for request in requests:
        if request.time >= refreshed + REFRESH_S:
            refreshed = request.time
            left = budget - spent
            policy.share = demand.affordable(left, start, start + DAY_S, request.time)
        student = policy.choose(request.options).student
        policy.saw(request.expected, request.options)
        demand.add(request.time, request.cost)
        # An answer costs up to 1.6 times what is expected.
        if rng.random() >= student and spent + 1.6 * request.expected <= budget:
            spent += request.cost
            saved += request.risk
    return Day(
        spent / budget,
        saved / best(requests, budget),
        sum(request.risk for request in requests)
        * min(1.0, budget / sum(request.cost for request in requests))
        / best(requests, budget),
    )


def best(requests: list[Request], budget: int) -> float:
    """Wrong answers that hindsight could have spared (the greedy fractional knapsack's bound)."""
    spared, left = 0.0, budget
    for request in sorted(requests, key=lambda request: request.cost / request.risk):
        part = min(1.0, left / request.cost)
        spared += part * request.risk
        left -= round(part * request.cost)
        if left <= 0:
            break
    return spared


@pytest.mark.parametrize("idle", [(0, 8), (20, 24), (0, 0)], ids=["night", "evening", "never"])
@pytest.mark.parametrize("part", [0.1, 0.3, 0.6])
def test_a_budget_is_spent_and_never_exceeded(idle: tuple[int, int], part: float) -> None:
    days = [day for seed in range(2) for day in simulate(seed, idle, part)]
    assert all(0.98 <= day.spent <= 1.0 for day in days), days
    # Far better than a random choice of the same cost, and not far from hindsight.
    assert all(day.quality > 0.8 for day in days), days
    assert all(day.quality > day.at_random + 0.2 for day in days), days


def test_a_budget_beyond_all_demand_buys_the_teacher_for_everything() -> None:
    demand, policy = Demand(), Budget()
    rng = random.Random(1)
    for request in traffic(rng, 0, (0, 0)):
        demand.add(request.time, request.cost)
        policy.saw(request.expected, request.options)
    usual = demand.forecast(DAY_S, 2 * DAY_S, DAY_S)
    policy.share = demand.affordable(2 * usual, DAY_S, 2 * DAY_S, DAY_S)
    assert all(policy.choose(r.options).student == 0 for r in traffic(rng, 1, (0, 0)))
    policy.share = demand.affordable(0, DAY_S, 2 * DAY_S, DAY_S)
    assert all(policy.choose(r.options).student == 1 for r in traffic(rng, 1, (0, 0)))


seen = st.lists(
    st.tuples(st.floats(0, 1e8) | st.just(math.inf), st.floats(1, 100)), min_size=1, max_size=60
)


@given(seen, st.floats(0, 1))
def test_the_share_wanted_is_the_share_chosen(
    requests: list[tuple[float, float]], share: float
) -> None:
    prices = Prices()
    for worth, cost in requests:
        prices.saw(worth, cost)
    total = sum(cost for _, cost in requests)
    chosen = sum(cost * prices.chance(worth, share) for worth, cost in requests)
    # The newest count for up to 6% more than the oldest of sixty.
    assert chosen / total == pytest.approx(share, abs=0.07)


@given(seen, st.floats(0, 1e8), st.floats(0, 1e8), st.floats(0, 1), st.floats(0, 1))
def test_worthier_requests_and_larger_shares_go_first(
    requests: list[tuple[float, float]], one: float, other: float, share: float, more: float
) -> None:
    prices = Prices()
    for worth, cost in requests:
        prices.saw(worth, cost)
    low, high = sorted((one, other))
    assert prices.chance(low, share) <= prices.chance(high, share)
    assert prices.chance(low, share) <= prices.chance(low, min(1.0, share + more)) + 1e-12


def test_prices_follow_what_comes_and_forget_what_was() -> None:
    prices = Prices()
    for _ in range(200_000):
        prices.saw(1000.0, 1e12)
    assert prices.chance(10.0, 0.5) == 0
    for _ in range(10_000):
        prices.saw(1.0, 1e12)
    assert prices.chance(10.0, 0.5) == 1


def test_without_a_day_to_go_by_demand_goes_on_as_it_was() -> None:
    demand = Demand()
    start = 10 * DAY_S
    for quarter in range(8):
        demand.add(start + quarter * SLOT_S, 100.0)
    coming = demand.forecast(start, start + DAY_S, start + 8 * SLOT_S)
    assert coming == pytest.approx(8800)
    assert Demand().forecast(start, start + DAY_S, start + 60) == 0


def test_a_month_is_foretold_from_its_own_days() -> None:
    demand = Demand()
    for slot in range(20 * 96):
        demand.set(slot, 50.0 if slot % 96 >= 32 else 0.0)
    now = 20 * DAY_S
    usual_day = 64 * 50.0
    assert demand.forecast(0, 30 * DAY_S, now) == pytest.approx(10 * usual_day)
    # The last night has no demand to wait for.
    assert demand.forecast(0, 20 * DAY_S + 8 * 3600, now) <= usual_day


def test_days_that_are_read_after_the_first_question_count_all_the_same() -> None:
    known, asked = Demand(), Demand()
    start = 10 * DAY_S
    now = start + 8 * 3600
    assert asked.forecast(start, start + DAY_S, now) == 0
    for demand in (known, asked):
        for slot in range(3 * 96, now // SLOT_S):
            demand.set(slot, 100.0 if slot % 96 >= 48 else 1.0)
    coming = asked.forecast(start, start + DAY_S, now)
    assert coming == known.forecast(start, start + DAY_S, now)
    assert coming == pytest.approx(48 * 100.0, rel=0.1)
