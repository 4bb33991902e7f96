"""The whole of it on PostgreSQL: what is taught, learnt, served and audited, and outages."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from telemetry.keys import Keys, new_secret
from telemetry.store import Store
from tests.postgres import PASSWORD, QUOTED, Cluster
from tests.router.conftest import teacher_flags
from tests.router.server import Server, children, eventually, run_cli
from tests.router.taught import SENTENCES, TASK
from tests.router.upstream import StubUpstream, label


@pytest.fixture(scope="module")
def running(
    shared_upstream: StubUpstream,
    postgres_cluster: Cluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    environment = {
        "PROTEGE_DATABASE": postgres_cluster.empty("served").get_secret_value(),
        "PROTEGE_POLICY__AUDIT_RATE": "1",
        "PROTEGE_LOOP__ENCODER": "null",
        "PROTEGE_LOOP__ROLLOUT__CANARY": "0",
    }
    data = tmp_path_factory.mktemp("postgres")
    flags = (*teacher_flags(shared_upstream), "--workers", "2")
    with Server(data, *flags, **environment) as server:
        yield server


@pytest.fixture
def server(running: Server, upstream: StubUpstream) -> Server:
    return running


async def ask(client: openai.AsyncOpenAI, text: str, task: str = TASK) -> tuple[str, str, str]:
    """The exchange's id, who answered and what."""
    raw = await client.chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": text}],
        metadata={"task": task},
    )
    said = raw.parse().choices[0].message.content
    return raw.headers["x-request-id"], raw.headers["x-protege-route"], said or ""


async def is_ready(server: Server) -> bool:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{server.url.removesuffix('/v1')}/readyz", timeout=20)
    assert response.status_code in (200, 503)
    return response.status_code == 200


async def test_a_student_is_taught_promoted_and_audited(server: Server) -> None:
    store = server.store()
    async with server.async_client() as client:
        texts = [f"{sentence} {number}" for sentence in SENTENCES for number in range(3)]
        taught = await asyncio.gather(*(ask(client, text) for text in texts))
        for (identifier, route, said), text in zip(taught, texts, strict=True):
            assert (route, said) == ("teacher", label(text))
            exchange = store.exchange(identifier)
            assert exchange is not None
            assert exchange.teacher_answer == said
        assert await asyncio.to_thread(eventually, lambda: bool(store.roster.serving()), 60)
        (student,) = store.roster.serving()

        async def served() -> bool:
            identifier, route, said = await ask(client, SENTENCES[0])
            if route == "teacher":
                return False
            assert said == label(SENTENCES[0])

            def audited() -> bool:
                exchange = store.exchange(identifier)
                return exchange is not None and exchange.agreed is True

            assert await asyncio.to_thread(eventually, audited)
            return True

        deadline = time.monotonic() + 20
        while not await served():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
    assert store.audit_blocks(student.version).total.audits >= 1
    store.close()


async def test_a_restart_of_the_database_under_load(
    server: Server, postgres_cluster: Cluster
) -> None:
    got: list[tuple[str, str, str]] = []

    async def call_until(deadline: float) -> None:
        while time.monotonic() < deadline:
            got.append(await ask(client, f"a cat {len(got)}", "restarted"))

    async with server.async_client(timeout=30) as client:
        callers = [call_until(time.monotonic() + 2) for _ in range(8)]
        load = asyncio.gather(*callers)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(postgres_cluster.stop)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(postgres_cluster.start)
        await load
    store = server.store()
    for identifier, _, said in got:
        exchange = store.exchange(identifier)
        assert exchange is not None
        assert exchange.answer == said
    assert len(store.teacher_answers("restarted")) == len(got)
    store.close()


async def test_a_database_that_stays_away(server: Server, postgres_cluster: Cluster) -> None:
    async with server.async_client(timeout=30) as client:
        postgres_cluster.stop()
        try:
            unstored = [ask(client, f"a cat {number}", "away") for number in range(4)]
            for error in await asyncio.gather(*unstored, return_exceptions=True):
                assert isinstance(error, openai.InternalServerError)
                assert error.code == "store_unavailable"
            assert not await is_ready(server)
        finally:
            postgres_cluster.start()
        _, _, said = await ask(client, "a cat", "away")
        assert said == "cat"
    assert await is_ready(server)
    store = server.store()
    assert len(store.teacher_answers("away")) == 1
    store.close()
    errors = "".join(server.errors)
    assert "a cat" not in errors
    assert PASSWORD not in errors
    assert QUOTED not in errors
    # Two workers speak of two outages, the first maybe too short for them; each once.
    assert 2 <= errors.count("the students cannot be read") <= 4


async def test_a_table_that_somebody_has_locked_is_an_outage(
    upstream: StubUpstream, postgres_cluster: Cluster, tmp_path: Path
) -> None:
    database = postgres_cluster.empty("altered")
    store = Store(tmp_path, database)
    environment = {"PROTEGE_DATABASE": database.get_secret_value()}
    with Server(tmp_path, *teacher_flags(upstream), **environment) as server:
        async with server.async_client(timeout=40, max_retries=0) as client:
            await ask(client, "a cat")
            with store.engine.connect() as connection:
                connection.execute(text("LOCK TABLE exchanges"))
                report = run_cli("report", "--data", str(tmp_path), **environment)
                with pytest.raises(openai.InternalServerError) as caught:
                    await ask(client, "a cat 2")
                assert caught.value.code == "store_unavailable"
                _, line = await asyncio.to_thread(report.communicate, timeout=20)
                assert line.startswith("protege: the store failed: canceling statement due to lock")
                assert len(line.splitlines()) == 1
                # The trainer says so too, and goes on.
                waits = "the store cannot be read: LockNotAvailable: canceling statement"
                assert await asyncio.to_thread(eventually, lambda: waits in "".join(server.errors))
            assert (await ask(client, "a cat 3"))[2] == "cat"
        assert not any("Traceback" in line for line in server.errors)
    store.close()


async def test_callers_who_wait_for_a_table_keep_nobody_else(
    upstream: StubUpstream, postgres_cluster: Cluster, tmp_path: Path
) -> None:
    database = postgres_cluster.empty("locked")
    store = Store(tmp_path, database)
    keys, secret = Keys(store), new_secret()
    key = keys.create(secret, time.time(), name="caller")
    environment = {
        "PROTEGE_DATABASE": database.get_secret_value(),
        "PROTEGE_LOOP__ENABLED": "false",
    }
    with Server(tmp_path, *teacher_flags(upstream), **environment) as server:
        async with server.async_client(api_key=secret.text, timeout=30) as client:
            await ask(client, "a cat")
            with store.engine.connect() as connection:
                connection.execute(text("LOCK TABLE exchanges"))
                completions = client.chat.completions
                # More than there are threads, or connections, for.
                waiting = [asyncio.ensure_future(completions.list()) for _ in range(40)]
                await asyncio.sleep(0.5)
                async with httpx.AsyncClient(base_url=server.url, timeout=5) as other:
                    assert (
                        await other.get(server.url.replace("/v1", "/metrics"))
                    ).status_code == 200
                    keys.revoke(key.id, time.time())
                    headers = {"authorization": f"Bearer {secret.text}"}
                    deadline = time.monotonic() + 5
                    while (await other.get("/models", headers=headers)).status_code == 200:
                        assert time.monotonic() < deadline
                        await asyncio.sleep(0.05)
            for page in await asyncio.gather(*waiting):
                assert len(page.data) == 1
    store.close()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's /proc")
async def test_who_starts_while_the_database_is_away_waits_for_it(
    server: Server, postgres_cluster: Cluster
) -> None:
    def trainers() -> set[int]:
        beside = children(server.process.pid)
        return {child.pid for child in beside if "distill.trainer" in child.command}

    killed, other = server.workers()
    before = len(server.errors)
    former = trainers()
    postgres_cluster.stop()
    try:
        killed.kill()
        for trainer in former:
            os.kill(trainer, signal.SIGKILL)
        waits = "the store is waited for: StoreError: cannot open the database"
        assert eventually(lambda: "".join(server.errors[before:]).count(waits) == 2)
        waiting = {worker.pid for worker in server.workers()} | trainers()
        assert other.pid in waiting
        assert len(waiting) == 3
    finally:
        postgres_cluster.start()
    async with server.async_client(timeout=30) as client:
        assert (await ask(client, "a cat", "back"))[2] == "cat"

    def serving() -> bool:
        # Each has connections to the database from when it has opened the store.
        return all(_connections(pid, postgres_cluster.port) for pid in waiting)

    assert eventually(serving)
    assert {worker.pid for worker in server.workers()} | trainers() == waiting
    assert not any("Traceback" in line for line in server.errors)


def _connections(pid: int, port: int) -> int:
    """Connections of a process to a port of this machine."""
    ours = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            ours.add(os.readlink(link))
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    there = [line.split() for line in lines if line.split()[2].endswith(f":{port:04X}")]
    return sum(f"socket:[{fields[9]}]" in ours for fields in there)


@pytest.mark.skipif(sys.platform != "linux", reason="options of Linux's sockets")
def test_a_database_that_the_network_has_lost_is_given_up(
    postgres_cluster: Cluster, tmp_path: Path
) -> None:
    store = Store(tmp_path, postgres_cluster.empty("lost"))
    with store.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as link:
            # Neither what is sent nor what is awaited keeps anybody waiting for longer.
            assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000
            assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
    store.close()


def test_a_database_that_cannot_be_opened(postgres_cluster: Cluster, tmp_path: Path) -> None:
    for url, code, complaint in [
        (postgres_cluster.url("served", "wrong"), 1, "password authentication failed"),
        (SecretStr("postgresql://u:wrong@127.0.0.1:9/name"), 1, "Connection refused"),
        (SecretStr("mysql://u:wrong@host/name"), 2, "database: must be a URL such as postgresql"),
    ]:
        environment = {"PROTEGE_DATABASE": url.get_secret_value()}
        process = run_cli("serve", "--port", "0", "--data", str(tmp_path), **environment)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code
        (line,) = errors.splitlines()
        assert line.startswith("protege: ")
        assert complaint in line
        assert "wrong" not in line
