"""What the scorers learn from a server's traffic, and keep over its restart."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from config.settings import ModelSettings, Settings
from router.chain import first_asked
from router.models import Models
from telemetry.exchange import Exchange
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually
from tests.router.taught import SENTENCES, TASK, promote
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

COST = PROMPT_TOKENS * 2_500_000 + COMPLETION_TOKENS * 15_000_000
"""Picodollars of a call to the stub, as gpt-5.4 is priced."""

ENVIRONMENT = {
    "PROTEGE_LOOP__ENABLED": "false",
    "PROTEGE_POLICY__AUDIT_RATE": "0.000001",
    "PROTEGE_COMPUTE_USD_PER_HOUR": "3.6",
}


def ask(server: Server, text: str, task: str = "scored", **more: Any) -> Exchange:
    """The exchange of a request."""
    raw = server.client().chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": text}],
        metadata={"task": task},
        **more,
    )
    if more.get("stream"):
        list(raw.parse())
    store = server.store()
    assert eventually(lambda: store.exchange(raw.headers["x-request-id"]) is not None)
    exchange = store.exchange(raw.headers["x-request-id"])
    store.close()
    assert exchange is not None
    return exchange


def foretold(exchange: Exchange, route: str = "teacher") -> dict[str, Any]:
    """What its route was expected to give."""
    assert exchange.decision is not None
    score: dict[str, Any] = json.loads(exchange.decision)[route]
    return score


@pytest.fixture
def slow(upstream: StubUpstream) -> StubUpstream:
    """A teacher that takes its time before the first token and between tokens."""
    upstream.delay_s, upstream.gap_s = 0.05, 0.02
    return upstream


def test_costs_and_latencies_are_learnt_and_kept(slow: StubUpstream, tmp_path: Path) -> None:
    flags = teacher_flags(slow)
    with Server(tmp_path, *flags, **ENVIRONMENT) as server:
        for sentence in SENTENCES[:15]:
            ask(server, sentence, stream=True)
        live = foretold(ask(server, SENTENCES[15], stream=True))
    assert live["cost"] == pytest.approx(COST, rel=0.05)
    assert live["cost"] <= live["cost_p95"]
    assert slow.delay_s <= live["first_token_s"] < live["latency_s"]
    assert live["latency_s"] <= live["latency_p95_s"]
    assert live["first_token_s"] <= live["first_token_p95_s"]

    with Server(tmp_path, *flags, **ENVIRONMENT) as server:

        def remembered() -> bool:
            score = foretold(ask(server, SENTENCES[16], stream=True))
            return score["cost"] == pytest.approx(COST, rel=0.05)

        assert eventually(remembered)
        again = foretold(ask(server, SENTENCES[17], stream=True))
    assert again["first_token_s"] == pytest.approx(live["first_token_s"], rel=0.5)


def test_load_is_counted(slow: StubUpstream, tmp_path: Path) -> None:
    slow.delay_s = 0.5
    with Server(tmp_path, *teacher_flags(slow), **ENVIRONMENT) as server:
        with ThreadPoolExecutor(3) as pool:
            at_once = [pool.submit(ask, server, text) for text in SENTENCES[:3]]
            loads = sorted(foretold(each.result())["load"] for each in at_once)
        assert loads == [0, 1, 2]
        assert foretold(ask(server, SENTENCES[3]))["load"] == 0


def test_a_students_computing_has_its_price(upstream: StubUpstream, tmp_path: Path) -> None:
    store = Store(tmp_path)
    promote(store, tmp_path, "animals-1")
    store.close()
    with Server(tmp_path, *teacher_flags(upstream), **ENVIRONMENT) as server:
        exchange = ask(server, SENTENCES[0], TASK)
        assert exchange.route == "student"
        # 3.6 USD an hour are a thousandth of one a second; the answer takes less than that.
        assert 0 < exchange.cost < 10**9
        score = foretold(exchange, "student")
        assert score["cost"] == exchange.cost
        assert score["load"] == 0
        for sentence in SENTENCES[1:20]:
            ask(server, sentence, TASK)
        later = foretold(ask(server, SENTENCES[20], TASK), "student")
    assert 0 < later["latency_s"] < 0.5


def test_audits_tell_what_the_teacher_takes(slow: StubUpstream, tmp_path: Path) -> None:
    """Or a teacher that was slow once would never be asked by who wants an answer in time."""
    store = Store(tmp_path)
    promote(store, tmp_path, "animals-1")
    store.close()
    environment = {**ENVIRONMENT, "PROTEGE_POLICY__AUDIT_RATE": "1"}
    with Server(tmp_path, *teacher_flags(slow), **environment) as server:
        assert foretold(ask(server, SENTENCES[0], TASK))["latency_s"] == 0.0

        def learnt() -> bool:
            score = foretold(ask(server, SENTENCES[1], TASK))
            return score["latency_s"] >= slow.delay_s and score["cost"] == COST

        assert eventually(learnt)


def test_who_is_asked_first_is_who_can_answer_soonest() -> None:
    teacher = ModelSettings(model="gpt-5.4", breaker_failures=1, breaker_pause_s=60)
    other = ModelSettings(model="gpt-5.4-mini", breaker_failures=1, breaker_pause_s=30)
    chain = Models(Settings(teacher=teacher, fallbacks=[other])).chain
    assert first_asked(chain) is chain[0]
    chain[0].breaker.failed()
    assert first_asked(chain) is chain[1]
    chain[1].breaker.failed()
    assert first_asked(chain) is chain[1]
    chain[0].breaker.succeeded()
    assert first_asked(chain) is chain[0]
