from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from bench.load import Target, measure, measure_paced, measure_streams
from bench.machine import cpu_s, resident_mb
from bench.stub import CHUNKS
from bench.tickets import DEPARTMENTS, bodies, department, streams
from router.demo.processes import free_port, running


@pytest.fixture(scope="module")
def bare(stub: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    command = [sys.executable, "-m", "bench.passthrough", str(port), stub]
    log = tmp_path_factory.mktemp("bare") / "bare.log"
    with running(command, log, f"{url}/models"):
        yield url


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    log = tmp_path_factory.mktemp("stub") / "stub.log"
    with running([sys.executable, "-m", "bench.stub", str(port)], log, f"{url}/models"):
        yield url


async def test_every_answer_is_counted(stub: str) -> None:
    measured = await measure(Target(stub), bodies("stub", "task", 20, seed=1), 4, seconds=0.2)
    assert measured.requests >= 4
    assert measured.failures == 0
    assert 0 < measured.p50_ms <= measured.p95_ms <= measured.p99_ms


async def test_a_rate_is_kept_and_what_is_late_counts_from_when_it_was_due() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(1000):
            if not await reader.read(65536):
                return
            # One stall, in which others become due.
            await asyncio.sleep(0.3 if number == 5 else 0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        target = Target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        asked = bodies("stub", "task", 2, seed=1)
        measured = await measure_paced(target, asked, 1, seconds=1.0, rate=50)
    assert 45 <= measured.requests <= 52
    # In 0.3 s fifteen are due: a closed loop would have seen one answer that took long.
    assert measured.p95_ms > 200


async def test_answers_that_are_no_success_are_counted_apart() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        measured = await measure(Target(url), bodies("stub", "task", 2, seed=1), 1, seconds=0.1)
    assert measured.failures == measured.requests > 0


async def test_a_server_that_hangs_up_is_an_error() -> None:
    with pytest.raises(OSError, match="Connect"):
        await measure(Target(f"http://127.0.0.1:{free_port()}/v1"), [b"{}"], 1, seconds=0.1)


def test_the_stub_answers_as_the_tickets_say(stub: str) -> None:
    answered = set()
    for body in bodies("stub", "task", 30, seed=3):
        completion = httpx.post(f"{stub}/chat/completions", content=body, trust_env=False).json()
        answer = completion["choices"][0]["message"]["content"]
        assert answer == department(json.loads(body)["messages"][-1]["content"].encode())
        answered.add(answer)
    assert answered == set(DEPARTMENTS)


def test_a_stream_of_the_stub_is_what_openais_client_reads(stub: str) -> None:
    client = openai.OpenAI(base_url=stub, api_key="none")
    chunks = list(
        client.chat.completions.create(
            model="stub",
            messages=[{"role": "user", "content": "a ticket"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    usage = chunks.pop().usage
    assert usage is not None
    assert usage.total_tokens > 0
    assert len(chunks) == CHUNKS
    assert chunks[-1].choices[0].finish_reason == "stop"
    texts = [chunk.choices[0].delta.content for chunk in chunks[1:-1]]
    # Each is the moment that it was sent.
    assert texts == sorted(texts, key=str)
    assert len(set(texts)) == CHUNKS - 2


async def test_chunks_are_timed_from_the_stub_on(stub: str) -> None:
    payloads = streams("stub", "task", 4, 1, gap_ms=5)
    measured = await measure_streams(Target(stub), payloads, 2, 0.1, gap_ms=5)
    assert measured.whole.failures == 0
    assert measured.whole.requests >= 2
    assert 0 < measured.chunk_p50_ms <= measured.chunk_p99_ms
    # The stub waits between the chunks, not before the first.
    assert measured.first_chunk_p50_ms < measured.whole.p50_ms
    assert measured.whole.p50_ms >= 5 * (CHUNKS - 2)


async def test_a_chunk_that_comes_after_the_next_was_sent_counts_as_held_back() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            long_ago = b"".join(b"data: t%020d \n\n" % moment for moment in (1, 2, 3))
            body = long_ago + b"data: [DONE]\n\n"
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            writer.write(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        target = Target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        measured = await measure_streams(target, [b"{}"], 1, 0.05, gap_ms=10)
    assert measured.held_back == 3 * measured.whole.requests
    assert measured.whole.failures == 0


async def test_streams_that_break_off_are_failures() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            event = b"data: t%020d \n\n" % 1
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            writer.write(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event))

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        target = Target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        measured = await measure_streams(target, [b"{}"], 1, 0.05, gap_ms=0)
    assert measured.whole.failures == measured.whole.requests > 0


@pytest.mark.parametrize("more", [{}, {"stream": True}])
def test_the_bare_pass_through_passes_on_what_the_stub_says(
    stub: str, bare: str, more: dict[str, Any]
) -> None:
    (body,) = bodies("stub", "task", 1, seed=1, **more)
    with httpx.Client(trust_env=False) as client:
        direct, passed = (
            client.post(f"{url}/chat/completions", content=body) for url in (stub, bare)
        )
    assert passed.status_code == 200
    kind = passed.headers["content-type"].partition(";")[0]
    assert kind == direct.headers["content-type"]
    assert _untimed(passed.text) == _untimed(direct.text)


def _untimed(text: str) -> str:
    return re.sub(r"t\d{20}", "t", text)


def test_processor_time_and_memory_of_a_process() -> None:
    burn = "import time; sum(range(30_000_000)); print(time.process_time(), flush=True); input()"
    command = [sys.executable, "-c", burn]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        taken = float(process.stdout.readline())
        assert cpu_s(process.pid) == pytest.approx(taken, abs=0.1)
        # A child's time counts as its parent's.
        assert cpu_s(os.getpid()) >= taken
        assert 5 < resident_mb(process.pid) < 100
        process.kill()
