"""What is charged: the price of the day, once, for what the upstream says that it has done."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from config.loading import load
from router.models import Models
from router.upstreams.answer import AnswerCollector, read_completion
from telemetry.exchange import Exchange
from telemetry.figures import sums
from telemetry.prices import Prices, Usage
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import ROOT, Server, eventually
from tests.router.taught import TASK, promote
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

PRICES = {
    "PROTEGE_LOOP__ENABLED": "false",
    "PROTEGE_PRICES": json.dumps({"gpt-5.4": {"input": 1, "output": 2}}),
}
"""Environment of servers that charge one and two USD for a million tokens."""

COST = (PROMPT_TOKENS + COMPLETION_TOKENS) * 10**6
"""Picodollars of an answer at a USD for a million tokens."""

SAID = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "prompt_tokens_details": {"audio_tokens": 60, "cached_tokens": 10},
    "completion_tokens_details": {"audio_tokens": 30, "reasoning_tokens": 5},
}
READ = Usage(100, 50, 10, 5, heard_tokens=60, spoken_tokens=30, tier="flex")


def test_the_price_of_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = {"model": "x", "base_url": "http://127.0.0.1:9/v1"}
    dated = [{"input": 1, "output": 1}, {"from": "2026-03-01", "input": 3, "output": 3}]
    model = Models(load(None, {"teacher": teacher, "prices": {"x": dated}})).teacher
    for day, picodollars in {date(2026, 2, 28): 1_000_000, date(2026, 3, 1): 3_000_000}.items():
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        monkeypatch.setattr("time.time", lambda moment=moment: moment)
        assert model.price.input == picodollars


def test_yesterdays_cost_does_not_change(upstream: StubUpstream, data: Path) -> None:
    def ask(prices: Any) -> str:
        environment = {
            "PROTEGE_LOOP__ENABLED": "false",
            "PROTEGE_PRICES": json.dumps({"gpt-5.4": prices}),
        }
        with Server(data, *teacher_flags(upstream), **environment) as server:
            answer = server.client().chat.completions.with_raw_response.create(
                model="auto", messages=[{"role": "user", "content": "a cat"}]
            )
            return str(answer.headers["x-request-id"])

    first = ask({"input": 1, "output": 1})
    # Even where the new price is for days that are over.
    second = ask([{"from": "2020-01-01", "input": 5, "output": 5}])
    store = Store(data)
    costs = []
    for identifier in (first, second):
        exchange = store.exchange(identifier)
        assert exchange is not None
        costs.append((exchange.cost, exchange.teacher_cost))
    assert costs == [(COST, COST), (5 * COST, 5 * COST)]
    (total,) = sums(store.engine, 0, 2e9)
    assert total.cost == 6 * COST
    store.close()


def test_what_an_upstream_says_of_tiers_and_audio() -> None:
    choice = {"message": {"content": "yes"}, "finish_reason": "stop"}
    whole = {"choices": [choice], "usage": SAID, "service_tier": "flex"}
    assert read_completion(json.dumps(whole).encode()).usage == READ
    collector = AnswerCollector()
    collector.add({"choices": [{"delta": {"content": "yes"}}], "service_tier": "flex"})
    collector.add({"choices": [], "usage": SAID})
    assert collector.answer().usage == READ


@pytest.mark.parametrize("details", [{"completion_tokens_details": {"reasoning_tokens": 300}}, {}])
def test_thinking_that_is_in_the_total_alone_is_paid_for(
    upstream: StubUpstream, data: Path, details: dict[str, Any]
) -> None:
    # As xAI has it, and, without details, Gemini's OpenAI-compatible API.
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 450, **details}
    choice = {"message": {"content": "yes"}, "finish_reason": "stop"}
    upstream.content = json.dumps({"choices": [choice], "usage": usage}).encode()
    with Server(data, *teacher_flags(upstream), **PRICES) as server:
        answer = server.client().chat.completions.with_raw_response.create(
            model="auto", messages=[{"role": "user", "content": "a cat"}]
        )
        # The caller is told what the upstream says.
        assert json.loads(answer.content)["usage"] == usage
        exchange = server.exchange(answer.headers["x-request-id"])
    assert (exchange.completion_tokens, exchange.reasoning_tokens) == (350, 300)
    assert exchange.cost == (100 + 2 * 350) * 10**6


def test_what_is_asked_beside_is_paid_for_though_nobody_counts_its_tokens(
    upstream: StubUpstream, data: Path
) -> None:
    store = Store(data)
    promote(store, data, "animals-1")
    choice = {"message": {"content": "cat"}, "finish_reason": "stop"}
    upstream.content = json.dumps({"choices": [choice]}).encode()
    every = {"PROTEGE_POLICY__AUDIT_RATE": "1", "PROTEGE_DATASET__REPEATS": "1"}
    with Server(data, *teacher_flags(upstream), **PRICES, **every) as server:

        def asked(task: str) -> Exchange:
            answer = server.client().chat.completions.with_raw_response.create(
                model="auto",
                messages=[{"role": "user", "content": "the cat sleeps under the bed"}],
                metadata={"task": task},
            )
            return server.exchange_soon(answer.headers["x-request-id"])

        by_student, by_teacher = asked(TASK), asked("again")
        assert (by_student.route, by_teacher.route) == ("student", "teacher")
        assert by_teacher.cost > 0
        assert eventually(lambda: server.exchange(by_student.id).agreed is True)
        assert eventually(lambda: server.exchange(by_teacher.id).repeats is not None)
        assert server.exchange(by_student.id).audit_cost > 0
        assert server.exchange(by_teacher.id).audit_cost > 0
    store.close()


def test_models_whose_price_the_pages_take_have_one() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    named = re.findall(r"price_as: (\S+)", pages)
    assert named
    assert [name for name in named if Prices({}).tariff(name) is None] == []
