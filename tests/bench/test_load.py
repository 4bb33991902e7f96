from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

import httpx
import pytest

from bench.load import measure
from bench.tickets import DEPARTMENTS, bodies, department
from router.demo.processes import free_port, running


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    log = tmp_path_factory.mktemp("stub") / "stub.log"
    with running([sys.executable, "-m", "bench.stub", str(port)], log, f"{url}/models"):
        yield url


async def test_every_answer_is_counted(stub: str) -> None:
    measured = await measure(stub, bodies("stub", "task", 20, seed=1), 4, seconds=0.2)
    assert measured.requests >= 4
    assert measured.failures == 0
    assert 0 < measured.p50_ms <= measured.p95_ms


async def test_answers_that_are_no_success_are_counted_apart() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        measured = await measure(url, bodies("stub", "task", 2, seed=1), 1, seconds=0.1)
    assert measured.failures == measured.requests > 0


async def test_a_server_that_hangs_up_is_an_error() -> None:
    with pytest.raises(OSError, match="Connect"):
        await measure(f"http://127.0.0.1:{free_port()}/v1", [b"{}"], 1, seconds=0.1)


def test_the_stub_answers_as_the_tickets_say(stub: str) -> None:
    answered = set()
    for body in bodies("stub", "task", 30, seed=3):
        completion = httpx.post(f"{stub}/chat/completions", content=body, trust_env=False).json()
        answer = completion["choices"][0]["message"]["content"]
        assert answer == department(json.loads(body)["messages"][-1]["content"].encode())
        answered.add(answer)
    assert answered == set(DEPARTMENTS)
