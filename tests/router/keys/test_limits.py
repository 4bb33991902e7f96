"""Limits and budgets through real servers: over processes, restarts and replicas."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from telemetry.keys import Key, Keys, new_secret
from telemetry.store import Store
from tests.postgres import Cluster
from tests.redis_server import RedisServer
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually, run_cli
from tests.router.taught import SENTENCES, TASK, promote
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

TOKENS = PROMPT_TOKENS + COMPLETION_TOKENS
COST = 10**6
"""Picodollars of a request: a microdollar, by the price below."""
AT_ONCE = 8
POLLED_S = 1.0

BODY: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "a cat"}]}
ENVIRONMENT = {
    "PROTEGE_LOOP__ENABLED": "false",
    "PROTEGE_PRICES": '{"gpt-5.4": {"input": 0.025, "output": 0}}',
    "PROTEGE_POLICY__AUDIT_RATE": "1",
}


KEYS: dict[str, dict[str, Any]] = {
    "requests": {"requests_per_minute": 20},
    "tokens": {"tokens_per_minute": 10 * TOKENS},
    "budget": {"budget": 20 * COST, "period": "day"},
    "streams": {"budget": 20 * COST},
    "audits": {"budget": 3 * COST},
    "told": {"requests_per_minute": 2, "tokens_per_minute": 1000},
    "spent": {"budget": 1},
    "raised": {"budget": COST},
    "later": {},
    "bad": {"requests_per_minute": 1},
    "prompts": {"requests_per_minute": 5},
    "revoked": {},
}
"""The keys that the shared server starts with: a key for each test."""


class Callers:
    """Keys in a store, and requests with them to the servers that share it."""

    def __init__(self, store: Store, *servers: Server) -> None:
        self.keys = Keys(store)
        self.servers = servers
        self.made: dict[str, tuple[Key, str]] = {}
        """Keys and their secrets, by name."""

    def make(self, name: str, **fields: Any) -> None:
        secret = new_secret()
        key = self.keys.create(secret, time.time(), name=name, **fields)
        self.made[name] = (key, secret.text)

    async def flood(self, secret: str, requests: int, **body: Any) -> Counter[int]:
        """How many requests, with a few at once over all processes, ended with which status."""
        slots = asyncio.Semaphore(AT_ONCE)
        headers = {"authorization": f"Bearer {secret}", "connection": "close"}

        async def ask(client: httpx.AsyncClient, number: int) -> int:
            url = self.servers[number % len(self.servers)].url
            async with slots:
                answer = await client.post(
                    f"{url}/chat/completions", json={**BODY, **body}, headers=headers
                )
            return answer.status_code

        async with httpx.AsyncClient(verify=False, timeout=60) as client:
            return Counter(await asyncio.gather(*(ask(client, i) for i in range(requests))))

    def ask(self, secret: str, **more: Any) -> Any:
        client = self.servers[0].client(api_key=secret)
        return client.chat.completions.with_raw_response.create(**{**BODY, **more})


def start(data: Path, upstream: StubUpstream, workers: int = 2, **environment: str) -> Server:
    flags = (*teacher_flags(upstream), "--workers", str(workers))
    return Server(data, *flags, **{**ENVIRONMENT, **environment})


@pytest.fixture(scope="module")
def running(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callers]:
    data = tmp_path_factory.mktemp("limits")
    store = Store(data)
    callers = Callers(store)
    for name, fields in KEYS.items():
        callers.make(name, **fields)
    promote(store, data, "animals-1")
    with start(data, shared_upstream) as server:
        callers.servers = (server,)
        yield callers
    assert not server.complaints()
    store.close()


@pytest.fixture
def callers(running: Callers, upstream: StubUpstream) -> Callers:
    return running


async def test_requests_per_minute(callers: Callers, upstream: StubUpstream) -> None:
    _, secret = callers.made["requests"]
    statuses = await callers.flood(secret, 60)
    assert statuses == {200: 20, 429: 40}
    assert len(upstream.requests) == 20


async def test_tokens_per_minute(callers: Callers) -> None:
    _, secret = callers.made["tokens"]
    statuses = await callers.flood(secret, 60)
    assert 10 <= statuses[200] < 10 + AT_ONCE
    assert statuses[200] + statuses[429] == 60


async def test_a_budget(callers: Callers) -> None:
    key, secret = callers.made["budget"]
    statuses = await callers.flood(secret, 60)
    assert 20 <= statuses[200] < 20 + AT_ONCE
    assert statuses[200] + statuses[429] == 60
    assert callers.keys.spent(key.id, 0) == statuses[200] * COST


async def test_streams_count_like_answers(callers: Callers) -> None:
    _, secret = callers.made["streams"]
    statuses = await callers.flood(secret, 60, stream=True)
    assert 20 <= statuses[200] < 20 + AT_ONCE
    assert statuses[200] + statuses[429] == 60


def test_audits_count(callers: Callers, upstream: StubUpstream) -> None:
    # The students of these tests are free; asking the teacher afterwards is not.
    key, secret = callers.made["audits"]
    for number in range(3):
        answer = callers.ask(
            secret,
            metadata={"task": TASK},
            messages=[{"role": "user", "content": SENTENCES[number]}],
        )
        assert answer.headers["x-protege-route"] == "student"
        assert eventually(lambda: callers.keys.spent(key.id, 0) == (number + 1) * COST)  # noqa: B023
    with pytest.raises(openai.RateLimitError) as caught:
        callers.ask(secret)
    assert caught.value.code == "insufficient_quota"


def test_what_the_caller_is_told(callers: Callers) -> None:
    _, secret = callers.made["told"]
    first, second = callers.ask(secret), callers.ask(secret)
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in (first, second)] == [
        "1",
        "0",
    ]
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-limit-tokens"] == "1000"
    assert second.headers["x-ratelimit-remaining-tokens"] == str(1000 - TOKENS)
    assert 59 <= int(second.headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 61
    with pytest.raises(openai.RateLimitError) as caught:
        callers.ask(secret)
    assert caught.value.code == "rate_limit_exceeded"
    assert 50 <= int(caught.value.response.headers["retry-after"]) <= 61


def test_a_budget_that_is_spent(callers: Callers) -> None:
    _, secret = callers.made["spent"]
    assert callers.ask(secret).headers.get("x-ratelimit-limit-requests") is None
    with pytest.raises(openai.RateLimitError) as caught:
        callers.ask(secret)
    assert (caught.value.type, caught.value.code) == ("insufficient_quota", "insufficient_quota")
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 31 * 86400


def test_a_budget_may_be_raised(callers: Callers) -> None:
    key, secret = callers.made["raised"]
    callers.ask(secret)
    with pytest.raises(openai.RateLimitError):
        callers.ask(secret)
    callers.keys.change(key.id, budget=2 * COST)
    time.sleep(POLLED_S)
    assert callers.ask(secret).parse().choices
    with pytest.raises(openai.RateLimitError):
        callers.ask(secret)


def test_what_was_spent_before_there_was_a_budget_counts(callers: Callers) -> None:
    key, secret = callers.made["later"]
    for _ in range(3):
        callers.ask(secret)
    callers.keys.change(key.id, budget=4 * COST)
    time.sleep(POLLED_S)
    callers.ask(secret)
    with pytest.raises(openai.RateLimitError):
        callers.ask(secret)


def test_bad_requests_count_for_nothing(callers: Callers) -> None:
    _, secret = callers.made["bad"]
    for more in ({"metadata": "nonsense"}, {"messages": "nonsense"}):
        with pytest.raises(openai.APIStatusError):
            callers.ask(secret, **more)
    assert callers.ask(secret).parse().choices


def test_every_prompt_of_a_completion_counts(callers: Callers) -> None:
    completions = callers.servers[0].client(api_key=callers.made["prompts"][1]).completions
    raw = completions.with_raw_response.create(model="auto", prompt=["a cat 1", "a cat 2"])
    assert len(raw.parse().choices) == 2
    with pytest.raises(openai.RateLimitError) as caught:
        completions.create(model="auto", prompt=["a cat"] * 4)
    assert "5 requests a minute" in caught.value.message


async def test_a_revoked_key_is_dead_in_every_process_within_a_second(callers: Callers) -> None:
    key, secret = callers.made["revoked"]
    assert set(await callers.flood(secret, 30)) == {200}
    callers.keys.revoke(key.id, time.time())
    await asyncio.sleep(POLLED_S)
    assert set(await callers.flood(secret, 60)) == {401}


async def test_a_kill_forgets_nothing(upstream: StubUpstream, data: Path) -> None:
    store = Store(data)
    callers = Callers(store)
    callers.make("budgeted", budget=40 * COST)
    callers.make("paced", requests_per_minute=5)
    (key, budgeted), (_, paced) = callers.made["budgeted"], callers.made["paced"]
    with start(data, upstream) as server:
        callers.servers = (server,)
        assert (await callers.flood(budgeted, 20))[200] == 20
        assert (await callers.flood(paced, 5))[200] == 5
        for worker in server.workers():
            worker.kill()
        server.kill()
    with start(data, upstream, 1) as server:
        callers.servers = (server,)
        assert (await callers.flood(budgeted, 10))[200] == 10
        assert (await callers.flood(paced, 5))[429] == 5
        server.kill()
    # Even the counters may be lost: what was spent is in the store.
    (data / "limits.1").unlink()
    with start(data, upstream, 1) as server:
        callers.servers = (server,)
        statuses = await callers.flood(budgeted, 30)
    assert 10 <= statuses[200] < 10 + AT_ONCE
    assert Keys(store).spent(key.id, 0) == (30 + statuses[200]) * COST
    store.close()


async def test_a_worker_that_is_killed_and_started_again(
    upstream: StubUpstream, data: Path
) -> None:
    store, secret = Store(data), new_secret()
    key = Keys(store).create(secret, time.time(), name="app", budget=30 * COST)
    with start(data, upstream) as server:
        callers = Callers(store, server)
        assert (await callers.flood(secret.text, 20))[200] == 20
        killed = server.workers()
        killed[0].kill()
        assert eventually(lambda: len({*server.workers()} - {*killed}) == 1)
        assert eventually(lambda: _serves(server))
        statuses = await callers.flood(secret.text, 30)
    assert Keys(store).spent(key.id, 0) == (20 + statuses[200]) * COST
    assert 10 <= statuses[200] < 10 + AT_ONCE
    store.close()


def _serves(server: Server) -> bool:
    root = server.url.removesuffix("/v1")
    try:
        return all(httpx.get(f"{root}/healthz", verify=False).status_code == 200 for _ in range(10))
    except httpx.HTTPError:
        return False


# Replicas


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


async def test_replicas_share_limits_through_redis(
    upstream: StubUpstream, tmp_path: Path, redis: RedisServer, postgres_cluster: Cluster
) -> None:
    database = postgres_cluster.empty("replicas")
    environment = {"PROTEGE_DATABASE": database.get_secret_value(), "PROTEGE_REDIS": redis.url}
    store = Store(tmp_path, database)
    callers = Callers(store)
    callers.make("paced", requests_per_minute=20)
    callers.make("budgeted", budget=20 * COST)
    callers.make("after", requests_per_minute=10)
    key, budgeted = callers.made["budgeted"]
    with (
        start(tmp_path / "one", upstream, 1, **environment) as one,
        start(tmp_path / "two", upstream, 1, **environment) as two,
    ):
        callers.servers = (one, two)
        assert await callers.flood(callers.made["paced"][1], 60) == {200: 20, 429: 40}
        statuses = await callers.flood(budgeted, 15)
        assert statuses == {200: 15}

        redis.stop()
        # Each counts on its own now, from what the store says was spent.
        statuses += await callers.flood(budgeted, 40)
        assert 20 <= statuses[200] <= 25 + AT_ONCE
        assert callers.keys.spent(key.id, 0) == statuses[200] * COST
        for server in (one, two):
            (line,) = [line for line in server.errors if "Redis is down" in line]
            # Why that is so.
            assert "onnect" in line.partition("CountersLostError")[2]

        redis.start()
        while not all("Redis is back" in "".join(server.errors) for server in (one, two)):
            # It has forgotten everything; the store has not.
            assert set(await callers.flood(budgeted, 2)) == {429}
            await asyncio.sleep(0.2)
        assert await callers.flood(callers.made["after"][1], 30) == {200: 10, 429: 20}
    store.close()


def test_a_redis_that_is_none(data: Path) -> None:
    secret = "http://user:secret@host"
    process = run_cli("serve", "--port", "0", "--data", str(data), PROTEGE_REDIS=secret)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.splitlines() == ["protege: redis: must begin with redis://, rediss:// or unix://"]
