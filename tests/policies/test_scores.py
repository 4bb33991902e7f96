"""What routes are expected to cost and to take."""

from __future__ import annotations

import pytest

from policies.scores import Ask, Scores
from telemetry.exchange import Route
from telemetry.prices import Price, Usage
from telemetry.tolls import Toll

MODEL = "gpt-5.4"
PRICE = Price(input=10, output=100, cached_input=1)


def toll(
    task: str = "task",
    characters: int = 100,
    usage: Usage = Usage(20, 5),  # noqa: B008
    *,
    model: str = MODEL,
    route: Route = "teacher",
    latency_s: float = 1.0,
    first_token_s: float | None = None,
    load: int | None = 0,
) -> Toll:
    return Toll(task, route, model, characters, usage, latency_s, first_token_s, load)


def learnt(*tolls: Toll, times: int = 30) -> Scores:
    scores = Scores()
    for _ in range(times):
        for each in tolls:
            scores.learn(each)
    return scores


def test_names_that_callers_make_up_leave_nothing_behind() -> None:
    scores = Scores()
    with scores.calling("some"), scores.calling("some"):
        assert scores.teacher(Ask("task", 100), "some", PRICE).load == 2
    assert not scores._under_way


def test_costs_are_learnt_by_task_and_model() -> None:
    scores = learnt(
        toll("short", 100, Usage(50, 1)),
        toll("long", 100, Usage(20, 300)),
        toll("short", 100, Usage(60, 2), model="other"),
    )
    assert scores.usage(Ask("short", 200), MODEL) == Usage(100, 1)
    assert scores.teacher(Ask("short", 200), MODEL, PRICE).cost == 100 * 10 + 1 * 100
    assert scores.usage(Ask("long", 100), MODEL) == Usage(20, 300)
    assert scores.usage(Ask("short", 100), "other") == Usage(60, 2)
    assert scores.usage(Ask("short", 200), MODEL, answer="ab" * 10) == Usage(100, 10)


def test_of_an_unknown_task_what_is_usual_for_the_model_is_expected() -> None:
    assert Scores().usage(Ask("new", 400), MODEL).prompt_tokens == 100
    scores = learnt(toll("known", 100, Usage(50, 7)))
    assert scores.usage(Ask("new", 400), MODEL) == Usage(200, 7)


@pytest.mark.parametrize("after", [2, 5, 30, 100])
def test_an_answer_without_a_token_is_as_one_of_a_single_token(after: int) -> None:
    scores = Scores()
    scores.learn(toll(usage=Usage(0, 0)))
    for _ in range(after):
        scores.learn(toll(usage=Usage(50, 50)))
    score = scores.teacher(Ask("task", 100), MODEL, PRICE)
    usual = PRICE.cost(Usage(50, 50))
    assert usual / 5 < score.cost < 2 * usual
    assert score.cost_p95 < 20 * usual


def test_cached_written_and_reasoning_tokens_have_prices_of_their_own() -> None:
    usage = Usage(100, 40, cached_tokens=50, reasoning_tokens=30, written_tokens=10)
    price = Price(input=100, output=1000, cached_input=10, written_input=125, reasoning=500)
    scores = learnt(toll(usage=usage))
    exact = 40 * 100 + 50 * 10 + 10 * 125 + 10 * 1000 + 30 * 500
    assert scores.usage(Ask("task", 100), MODEL) == usage
    assert scores.teacher(Ask("task", 100), MODEL, price).cost == price.cost(usage) == exact


def test_no_more_tokens_are_expected_than_the_request_allows() -> None:
    scores = learnt(toll(usage=Usage(20, 300)))
    score = scores.teacher(Ask("task", 100, limit=10), MODEL, PRICE)
    assert score.cost == 20 * 10 + 10 * 100
    assert score.cost_p95 <= 21 * 10 + 10 * 100


def test_several_answers_cost_as_many_times_as_much_and_take_no_longer() -> None:
    scores = learnt(toll(usage=Usage(20, 300)))
    one, three = (scores.teacher(Ask("task", 100, choices=n), MODEL, PRICE) for n in (1, 3))
    assert three.cost == one.cost + 2 * 300 * 100
    assert three.cost_p95 - one.cost_p95 >= 2 * 300 * 100
    assert three.latency_s == pytest.approx(one.latency_s)
    limited = scores.teacher(Ask("task", 100, limit=30, choices=3), MODEL, PRICE)
    assert limited.cost == 20 * 10 + 30 * 100


def test_latency_is_learnt_by_model() -> None:
    scores = learnt(
        toll(latency_s=2.0, first_token_s=0.5),
        toll(model="other", latency_s=0.2),
        toll(model="v1", route="student", latency_s=0.002),
    )
    teacher = scores.teacher(Ask("task", 100), MODEL, PRICE)
    assert teacher.latency_s == pytest.approx(2.0, rel=0.05)
    # Who gets the answer in one piece waits for its end.
    assert teacher.first_token_s == teacher.latency_s
    streamed = scores.teacher(Ask("task", 100, stream=True), MODEL, PRICE)
    assert streamed.first_token_s == pytest.approx(0.5, rel=0.05)
    assert streamed.latency_p95_s >= streamed.latency_s
    other = scores.teacher(Ask("task", 100, stream=True), "other", PRICE)
    assert other.first_token_s == other.latency_s == pytest.approx(0.2, rel=0.05)
    student = scores.student("v1", 0.9, cost=3, waiting=0)
    assert student.latency_s == pytest.approx(0.002, rel=0.05)
    assert (student.cost, student.cost_p95, student.agreement) == (3, 3, 0.9)
    # A new version is expected to be like those before.
    assert scores.student("v2", 0.9, cost=3, waiting=0).latency_s == student.latency_s


def test_a_model_that_nobody_has_seen_is_not_thought_slow() -> None:
    scores = Scores()
    unknown = scores.teacher(Ask("task", 100, stream=True), MODEL, PRICE)
    assert unknown.latency_p95_s == unknown.first_token_p95_s == 0.0
    assert scores.student("v1", 0.9, cost=0, waiting=0).latency_p95_s == 0.0


def test_load_and_open_circuits_make_a_model_slower() -> None:
    scores = learnt(*(toll(latency_s=0.5 * (1 + load), load=load) for load in (0, 1, 3, 7)))
    idle = scores.teacher(Ask("task", 100), MODEL, PRICE)
    with scores.calling(MODEL), scores.calling(MODEL), scores.calling(MODEL):
        busy = scores.teacher(Ask("task", 100), MODEL, PRICE)
    assert (idle.load, busy.load) == (0, 3)
    assert idle.latency_s == pytest.approx(0.5, rel=0.2)
    assert busy.latency_s == pytest.approx(2.0, rel=0.2)
    assert scores.teacher(Ask("task", 100), MODEL, PRICE) == idle
    waiting = scores.teacher(Ask("task", 100), MODEL, PRICE, wait_s=5.0)
    assert waiting.latency_s == pytest.approx(idle.latency_s + 5.0)
    assert waiting.first_token_p95_s == pytest.approx(idle.first_token_p95_s + 5.0)


def test_a_call_that_fails_is_not_under_way_any_more() -> None:
    scores = Scores()
    with pytest.raises(KeyError), scores.calling(MODEL):
        raise KeyError
    assert scores.teacher(Ask("task", 100), MODEL, PRICE).load == 0


def test_tasks_that_are_not_seen_any_more_are_forgotten() -> None:
    scores = Scores(capacity=2)
    for task in ("a", "b", "a", "c"):
        scores.learn(toll(task, 100, Usage(77, 7)))
    scores.learn(toll("a", 100, Usage(77, 7)))
    for _ in range(300):
        # What is usual becomes something else.
        scores.learn(toll("c", 100, Usage(5, 5)))
    known = {task: scores.usage(Ask(task, 100), MODEL).prompt_tokens == 77 for task in "ab"}
    assert known == {"a": True, "b": False}


def test_what_is_remembered_is_what_was_learnt() -> None:
    tolls = [
        toll(task, 100 + i, Usage(30 + i, 2 * i + 1), latency_s=1 + i / 10, first_token_s=0.3)
        for i, task in enumerate("abcab" * 4)
    ]
    live, restarted = Scores(), Scores()
    for each in tolls:
        live.learn(each)
    restarted.remember(tolls)
    for task in "abc":
        ask = Ask(task, 150, stream=True)
        assert restarted.teacher(ask, MODEL, PRICE) == live.teacher(ask, MODEL, PRICE)


def test_every_answer_of_a_new_task_is_learnt_from_and_later_a_part_of_many() -> None:
    scores = Scores()
    gap = 1 / 2000
    wanted = []
    for i in range(4000):
        # Chance alone takes one in twenty at this rate.
        wants = scores.wants("task", "teacher", MODEL, 1000 + i * gap, draw=(i % 20 + 0.5) / 20)
        wanted.append(wants)
        if wants:
            scores.learn(toll("task", 100, Usage(30, 3)))
    first = wanted[:100]
    assert all(first)
    assert sum(wanted[200:]) == pytest.approx(3800 / 20, abs=1)
    # One that comes alone, or of another task, is never passed over.
    assert scores.wants("task", "teacher", MODEL, 2000.0, draw=0.99)
    assert scores.wants("other", "teacher", MODEL, 2000.0 + gap, draw=0.99)
    assert scores.wants("task", "student", "v1", 2000.0 + 2 * gap, draw=0.99)
