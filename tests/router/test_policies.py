"""Every policy and every level of precedence, through real servers with real students."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import select

from policies.evaluation import replay
from policies.history import read
from policies.threshold import Bound
from router.whatif.replayed import left_out_in_words
from telemetry.exchange import Exchange
from telemetry.keys import Key, Keys, new_secret
from telemetry.past import past
from telemetry.schema import exchanges as table
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually, run_cli
from tests.router.taught import SENTENCES, promote
from tests.router.upstream import StubUpstream

COST = 10**6
"""Picodollars of a teacher's answer: a microdollar, by the price below."""

TASKS = {
    "sure": "{}",
    "unsure": "{}",
    "thrifty": "{name: utility, utility: {quality: 0}}",
    "picky": "{name: utility, utility: {quality: 100, usd: 0, second: 0}}",
    "hasty": "{name: deadline, deadline: {seconds: 0.000001}}",
    "patient": "{name: deadline, deadline: {seconds: 3600}}",
    "bold": "{name: cascade, cascade: {threshold: 0.1}}",
    "timid": "{name: cascade, cascade: {threshold: 1}}",
    "teachers": "{name: teacher}",
    "students": "{name: student}",
    "always": "{name: random, random: {share: 1}}",
    "never": "{name: random, random: {share: 0}}",
    "half": "{name: random, random: {share: 0.5}}",
    "denied": "{name: student}",
    "short": "{name: student}",
}
"""The policy of each task. The student of the first is always sure enough, the others never."""


@dataclass(frozen=True)
class Site:
    """A server, and the secrets of its keys by their names."""

    server: Server
    secrets: dict[str, str]

    def ask(
        self, task: str, text: str = SENTENCES[0], key: str = "plain", **more: Any
    ) -> tuple[str, str]:
        """The route that a request takes, and why."""
        answer = self.answer(task, text, key, **more)
        return answer.headers["x-protege-route"], answer.headers["x-protege-reason"]

    def answer(self, task: str, text: str = SENTENCES[0], key: str = "plain", **more: Any) -> Any:
        terms = {f"x-protege-{name}": str(value) for name, value in more.pop("terms", {}).items()}
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": text}],
            "extra_headers": {**terms, "x-protege-task": task},
            **more,
        }
        client = self.server.client(api_key=self.secrets[key])
        return client.chat.completions.with_raw_response.create(**body)


def make_key(store: Store, name: str, secrets: dict[str, str]) -> Key:
    secret = new_secret()
    secrets[name] = secret.text
    return Keys(store).create(secret, 0.0, name=name)


@pytest.fixture(scope="module")
def running(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("policies")
    store = Store(data)
    for task in TASKS:
        threshold = 0.0 if task == "sure" else 1.01
        longest = len(SENTENCES[0]) if task == "short" else None
        promote(store, data, f"{task}-1", task=task, threshold=threshold, longest=longest)
    secrets: dict[str, str] = {}
    ids = {name: make_key(store, name, secrets).id for name in ("plain", "student", "locked")}
    store.close()
    config = data / "protege.yaml"
    config.write_text(
        f"""
        policy: {{audit_rate: 0.25}}
        policies:
          tasks: {{{", ".join(f"{task}: {policy}" for task, policy in TASKS.items())}}}
          keys:
            {ids["student"]}: {{name: student}}
            {ids["locked"]}: {{name: teacher, override: false}}
          deny: [denied]
        loop: {{enabled: false}}
        """
    )
    with Server(data, *teacher_flags(shared_upstream), "--config", str(config)) as server:
        yield Site(server, secrets)


@pytest.fixture
def site(running: Site, upstream: StubUpstream) -> Site:
    return running


def stored(site: Site, answer: Any) -> Exchange:
    return site.server.exchange_soon(answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("task", "policy", "route", "reason"),
    [
        ("sure", "bound", "student", "student_confident"),
        ("unsure", "bound", "teacher", "student_unsure"),
        ("thrifty", "utility", "student", "utility"),
        ("picky", "utility", "teacher", "utility"),
        ("hasty", "deadline", "student", "deadline"),
        ("patient", "deadline", "teacher", "student_unsure"),
        ("bold", "cascade", "student", "cascade"),
        ("timid", "cascade", "teacher", "cascade"),
        ("teachers", "teacher", "teacher", "policy"),
        ("students", "student", "student", "policy"),
        ("always", "random", "student", "policy"),
        ("never", "random", "teacher", "policy"),
    ],
)
def test_the_policy_of_a_task(site: Site, task: str, policy: str, route: str, reason: str) -> None:
    # A teacher whose latency is known.
    site.ask(task, model="teacher")
    answer = site.answer(task)
    assert answer.headers["x-protege-route"] == route
    assert answer.headers["x-protege-reason"] == reason
    exchange = stored(site, answer)
    assert exchange.decision is not None
    decision = json.loads(exchange.decision)
    assert (decision["policy"], decision["route"], decision["reason"]) == (policy, route, reason)
    assert exchange.propensity == (1.0 if route == "teacher" else 0.25)


def test_random_is_a_share_and_says_so(site: Site) -> None:
    answers = [site.answer("half") for _ in range(60)]
    routes = Counter(answer.headers["x-protege-route"] for answer in answers)
    # Five standard deviations.
    assert abs(routes["student"] - 30) <= 5 * math.sqrt(15)
    assert stored(site, answers[0]).propensity == pytest.approx(0.5 + 0.5 * 0.25)


def test_a_request_goes_before_its_key_and_that_before_its_task(site: Site) -> None:
    assert site.ask("teachers") == ("teacher", "policy")
    assert site.ask("teachers", key="student") == ("student", "policy")
    named = {"policy": "bound"}
    assert site.ask("teachers", key="student", terms=named) == ("teacher", "student_unsure")
    assert site.ask("teachers", terms={"policy": "random"})[1] == "policy"
    # A task without a policy of its own has the default.
    assert site.ask("another") == ("teacher", "no_student")


def test_a_key_may_forbid_to_choose(site: Site) -> None:
    assert site.ask("students", key="locked") == ("teacher", "policy")
    with pytest.raises(openai.PermissionDeniedError) as refused:
        site.ask("students", key="locked", terms={"policy": "student"})
    assert refused.value.code == "permission_denied"
    assert refused.value.param == "x-protege-policy"


@pytest.mark.parametrize(("name", "words"), [("best", "expected one of bound"), ("budget", "no b")])
def test_what_no_policy_is(site: Site, name: str, words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as refused:
        site.ask("sure", terms={"policy": name})
    assert refused.value.param == "x-protege-policy"


@pytest.mark.parametrize(
    "name", ["bound", "utility", "deadline", "cascade", "teacher", "student", "random"]
)
def test_no_policy_chooses_a_student_that_has_passed_no_gate(site: Site, name: str) -> None:
    terms = {"policy": name, "deadline": 3600}
    assert site.ask("never trained", terms=terms) == ("teacher", "no_student")


@pytest.mark.parametrize("task", TASKS)
def test_a_forced_teacher_always_teaches(site: Site, task: str) -> None:
    assert site.ask(task, key="student", model="teacher") == ("teacher", "forced")


def test_rules_go_before_policies(site: Site) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert site.ask("students", tools=tools) == ("teacher", "tools")
    assert site.ask("denied") == ("teacher", "barred")
    assert site.ask("short") == ("student", "policy")
    assert site.ask("short", SENTENCES[0] + " now") == ("teacher", "length")
    assert site.ask("students", terms={"bound": 0.01}) == ("teacher", "bound")
    with pytest.raises(openai.BadRequestError, match="barred"):
        site.ask("denied", model="student")


def test_who_asks_for_a_bound_gets_the_promise(site: Site) -> None:
    assert site.ask("students", terms={"bound": 0.05}) == ("teacher", "student_unsure")
    assert site.ask("sure", terms={"bound": 0.05, "policy": "student"}) == ("student", "policy")


def test_who_asks_for_a_bound_gets_an_error_instead_of_an_answer_outside_of_the_promise(
    upstream: StubUpstream, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    promote(store, tmp_path, "unsure-1", task="unsure", threshold=1.01)
    promote(store, tmp_path, "sure-1", task="sure", threshold=0.0)
    store.close()
    environment = {
        "PROTEGE_LOOP__ENABLED": "false",
        "PROTEGE_TEACHER__RETRIES": "0",
        "PROTEGE_TEACHER__BREAKER_FAILURES": "1000000",
    }
    with Server(tmp_path, *teacher_flags(upstream), **environment) as server:
        site = Site(server, {"plain": "none"})
        for policy in ("bound", "student", "deadline"):
            bound = {"bound": 0.2, "policy": policy}
            upstream.status = 500
            with pytest.raises(openai.InternalServerError):
                site.ask("unsure", terms=bound)
            assert site.ask("unsure", terms={"policy": "bound"}) == ("student", "teacher_down")
            upstream.reset()
            upstream.delay_s = 1.0
            with pytest.raises(openai.APIStatusError) as late:
                site.ask("unsure", terms={**bound, "deadline": 0.2})
            assert late.value.status_code == 504
            upstream.reset()
            with pytest.raises(openai.BadRequestError, match="more than the request's budget"):
                site.ask("unsure", terms={**bound, "budget": 1e-7})
            # Within the promise it is as good as the teacher's.
            assert site.ask("sure", terms={**bound, "budget": 1e-7})[0] == "student"


def test_a_deadline_of_the_policy_is_kept(site: Site, upstream: StubUpstream) -> None:
    """A teacher that was quick and has become slow is not waited for."""
    upstream.delay_s = 5.0
    terms = {"policy": "deadline"}
    answer = site.answer("sure", terms=terms)
    assert answer.headers["x-protege-route"] == "student"
    answer = site.answer("unsure", terms=terms)
    assert answer.headers["x-protege-reason"] == "deadline"
    assert answer.elapsed.total_seconds() < 4


def test_one_that_stands_in_for_a_teacher_that_is_too_dear_is_no_choice_of_a_policy(
    site: Site,
) -> None:
    for task, policy, chosen in (
        ("unsure", "bound", "teacher"),
        ("never", "random", "teacher"),
        ("always", "random", "student"),
    ):
        answer = site.answer(task, terms={"budget": 1e-7})
        assert answer.headers["x-protege-route"] == "student"
        exchange = stored(site, answer)
        assert exchange.propensity == pytest.approx(0.25)
        decision = json.loads(exchange.decision or "")
        assert (decision["route"], decision["policy"]) == (chosen, policy)
        assert exchange.reason == ("budget" if chosen == "teacher" else decision["reason"])
    # Chance might have asked the teacher, but for what it costs.
    half = [stored(site, site.answer("half", terms={"budget": 1e-7})) for _ in range(5)]
    assert [exchange.propensity for exchange in half] == pytest.approx([0.25] * 5)


def turn(*texts: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


def test_a_conversation_stays_with_the_teacher(site: Site) -> None:
    first = turn("a conversation about cats")
    assert site.ask("students", messages=first, terms={"policy": "teacher"})[0] == "teacher"
    second = turn("a conversation about cats", "cat", "and the dog?")
    assert site.ask("students", messages=second) == ("teacher", "pinned")
    third = [*second, *turn("", "dog")[1:], *turn("and the cat?")]
    assert site.ask("students", messages=third) == ("teacher", "pinned")
    # Nobody else is in it: examples in a prompt, another task, another caller.
    assert site.ask("students", messages=turn("an example", "cat", "the dog"))[0] == "student"
    assert site.ask("always", messages=second)[0] == "student"
    assert site.ask("students", key="student", messages=second)[0] == "student"


def test_a_conversation_stays_with_the_student_as_far_as_the_promise_goes(site: Site) -> None:
    for task, second in (("sure", "student"), ("unsure", "teacher")):
        text = SENTENCES[1]
        assert site.ask(task, text, terms={"policy": "student"})[0] == "student"
        more = turn(text, "cat", text)
        assert site.ask(task, messages=more, terms={"policy": "student"})[0] == second


def test_a_conversation_with_a_name(site: Site) -> None:
    metadata = {"conversation": "c-1"}
    assert site.ask("students", "a", metadata=metadata, terms={"policy": "teacher"})[0] == "teacher"
    assert site.ask("students", "b", metadata=metadata) == ("teacher", "pinned")
    assert site.ask("students", "b", metadata={"conversation": "c-2"})[0] == "student"


# Budgets


@pytest.fixture
def spenders(shared_upstream: StubUpstream, tmp_path: Path) -> tuple[Path, list[str]]:
    """A data folder and the flags of servers: a budget of 20 answers for all, 10 for a task."""
    data = tmp_path / "data"
    store = Store(data)
    promote(store, data, "animals-1", threshold=1.01)
    store.close()
    config = tmp_path / "protege.yaml"
    config.write_text(
        """
        policy: {name: budget, budget: {usd: 0.00002, period: month}, audit_rate: 0.5}
        policies:
          tasks: {small: {name: budget, budget: {usd: 0.00001, period: month}}}
        prices: {gpt-5.4: {input: 0.025, output: 0}}
        loop: {enabled: false}
        """
    )
    return data, [*teacher_flags(shared_upstream), "--config", str(config)]


def ask_many(server: Server, task: str, count: int) -> Counter[str]:
    """Routes of so many requests, eight at a time; ``refused`` where there was no money."""
    client = server.client()

    def ask(number: int) -> str:
        try:
            answer = client.chat.completions.with_raw_response.create(
                model="auto",
                messages=[{"role": "user", "content": f"{SENTENCES[number % 80]} {number}"}],
                metadata={"task": task},
            )
        except openai.RateLimitError as error:
            # The whole period, which is not over yet.
            waits_s = int(error.response.headers["retry-after"])
            return "refused" if error.code == "insufficient_quota" and waits_s > 0 else "wrong"
        return answer.headers["x-protege-route"]

    with ThreadPoolExecutor(8) as pool:
        return Counter(pool.map(ask, range(count)))


def settled_cost(server: Server, exchanges: int) -> int:
    """What has been spent once all exchanges are stored and no audit is under way."""
    store = server.store()
    seen: list[int] = []

    def settled() -> bool:
        with store.engine.connect() as connection:
            rows = connection.execute(select(table)).all()
        waiting = [row for row in rows if row.route == "student" and row.sampled]
        seen[:] = [sum(row.cost + row.audit_cost for row in rows)]
        return len(rows) >= exchanges and all(row.agreed is not None for row in waiting)

    assert eventually(settled)
    store.close()
    return seen[0]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_budget_is_never_exceeded(
    spenders: tuple[Path, list[str]], upstream: StubUpstream, workers: str
) -> None:
    data, flags = spenders
    with Server(data, *flags, PROTEGE_WORKERS=workers) as server:
        routes = ask_many(server, "animals", 120)
        # Without money the student answers; without a student nobody does.
        assert routes["teacher"] + routes["student"] == 120
        assert routes["student"] > 90
        spent = settled_cost(server, 120)
        assert 10 * COST <= spent <= 20 * COST
        no_student = ask_many(server, "new", 30)
        assert no_student["refused"] > 0
        more = settled_cost(server, 120 + no_student["teacher"])
        assert more <= 20 * COST
    # What was spent outlives the server.
    with Server(data, *flags, PROTEGE_WORKERS=workers) as server:
        assert ask_many(server, "new", 20)["refused"] >= 20 - (20 * COST - more) // COST


def test_a_task_with_a_budget_of_its_own(
    spenders: tuple[Path, list[str]], upstream: StubUpstream
) -> None:
    data, flags = spenders
    with Server(data, *flags) as server:
        routes = ask_many(server, "small", 20)
        assert 2 <= routes["teacher"] <= 10
        assert routes["refused"] == 20 - routes["teacher"]
        # Others have what is left of the budget for all.
        assert ask_many(server, "new", 3)["teacher"] == 3


def test_students_that_stand_in_for_want_of_money_are_no_choices_of_a_policy(
    spenders: tuple[Path, list[str]], upstream: StubUpstream
) -> None:
    data, flags = spenders
    # It pays for no answer, or only for some.
    for usd, count in (("0.000001", 5), ("0.00002", 40)):
        with Server(data, *flags, PROTEGE_POLICY__BUDGET__USD=usd) as server:
            ask_many(server, "animals", count)
    store = server.store()
    history = read(past(store, 0.0, math.inf), Bound())
    store.close()
    assert history.left_out["fallback"] >= 5
    assert len(history) + sum(history.left_out.values()) == 45
    outcome = replay(history, history.chance, 0.5)
    assert math.isfinite(outcome.usd.high)
    assert math.isfinite(outcome.latency_s.high)
    words = left_out_in_words({"forced": 1200, **history.left_out})
    assert words.startswith("Left out of the requests: 1,200 whose model the caller named, ")


def test_who_asks_for_a_bound_gets_no_answer_outside_of_the_promise_for_want_of_money(
    spenders: tuple[Path, list[str]], upstream: StubUpstream
) -> None:
    data, flags = spenders
    with Server(data, *flags, PROTEGE_POLICY__BUDGET__USD="0.000001") as server:
        site = Site(server, {"plain": "none"})
        assert site.ask("animals")[0] == "student"
        with pytest.raises(openai.RateLimitError, match="no student can answer instead"):
            site.ask("animals", terms={"bound": 0.2})


def test_an_empty_first_answer_leaves_a_budget_to_be_spent(
    upstream: StubUpstream, tmp_path: Path
) -> None:
    tokens = chain([0], repeat(3))
    upstream.spend = lambda: next(tokens)
    budget = {"PROTEGE_POLICY__NAME": "budget", "PROTEGE_POLICY__BUDGET__USD": "0.5"}
    with Server(tmp_path, *teacher_flags(upstream), **budget) as server:
        assert ask_many(server, "new", 40) == {"teacher": 40}


def test_a_request_that_fails_holds_nothing(
    spenders: tuple[Path, list[str]], upstream: StubUpstream
) -> None:
    data, flags = spenders
    # It can be read, and not be written.
    deep = json.loads("[" * 300 + "]" * 300)
    with Server(data, *flags, PROTEGE_POLICY__BUDGET__USD="1") as server:
        with pytest.raises(openai.BadRequestError, match="nested too deeply"):
            server.client().chat.completions.create(
                model="auto",
                messages=[{"role": "user", "content": "a cat"}],
                metadata={"task": "new"},
                extra_body={"x": deep},
            )
        metrics = httpx.get(server.url.replace("/v1", "/metrics")).text
        left = re.findall(r"^protege_policy_budget_left_usd.* (\S+)$", metrics, re.MULTILINE)
        assert sorted(map(float, left)) == [0.00001, 1]


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("PROTEGE_POLICY__NAME", "fast", "policy.name: input should be 'bound'"),
        ("PROTEGE_POLICY__NAME", "budget", "policy: the budget policy needs"),
        ("PROTEGE_POLICY__BUDGET__USD", "-1", "policy.budget.usd: input should be greater"),
        ("PROTEGE_POLICY__RANDOM__SHARE", "2", "policy.random.share: input should be less"),
        ("PROTEGE_POLICIES", '{"tasks": {"t": {"nam": "bound"}}}', "policies.tasks.t.nam: unknown"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(
    tmp_path: Path, setting: str, value: str, words: str
) -> None:
    process = run_cli("serve", "--data", str(tmp_path), **{setting: value})
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    lines = errors.strip().splitlines()
    assert len(lines) == 1
    assert words in lines[0]
