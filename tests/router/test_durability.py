"""An answer that a caller has received is in the store, whatever is killed afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import Server
from tests.router.upstream import StubUpstream

CALLERS = 16


async def _call_until_it_dies(client: openai.AsyncOpenAI, caller: int, got: dict[str, str]) -> None:
    """Note every answer that came whole, by its exchange."""
    number = 0
    while True:
        number += 1
        text = f"{'cat' if number % 2 else 'dog'} {caller} {number}"
        try:
            raw = await client.chat.completions.with_raw_response.create(
                model="auto",
                messages=[{"role": "user", "content": text}],
                stream=caller % 2 == 0,
            )
            identifier = raw.headers["x-request-id"]
            answer = raw.parse()
            if not isinstance(answer, openai.AsyncStream):
                got[identifier] = answer.choices[0].message.content or ""
                continue
            said = ""
            async for chunk in answer:
                said += chunk.choices[0].delta.content or ""
                # A caller that has the finish reason has the answer, whatever comes after it.
                if chunk.choices[0].finish_reason:
                    got[identifier] = said
        except (openai.APIError, httpx.HTTPError):
            return


@pytest.mark.parametrize("workers", [1, 2])
async def test_kill_in_the_middle_of_load(upstream: StubUpstream, data: Path, workers: int) -> None:
    flags = (*teacher_flags(upstream), "--workers", str(workers))
    got: dict[str, str] = {}
    with Server(data, *flags, PROTEGE_LOOP__ENABLED="false") as server:
        async with server.async_client() as client:
            callers = [
                asyncio.create_task(_call_until_it_dies(client, caller, got))
                for caller in range(CALLERS)
            ]
            await asyncio.sleep(2)
            if workers == 1:
                server.kill()
            else:
                for worker in server.workers():
                    worker.kill()
                server.kill()
            await asyncio.wait_for(asyncio.gather(*callers), 30)
    assert len(got) > CALLERS
    store = Store(data)
    for identifier, answer in got.items():
        exchange = store.exchange(identifier)
        assert exchange is not None, identifier
        assert exchange.teacher_answer == answer
        assert exchange.finish_reason == "stop"
    store.close()


async def test_a_graceful_stop_finishes_what_is_in_flight(
    upstream: StubUpstream, data: Path
) -> None:
    upstream.delay_s = 1.0
    with Server(data, *teacher_flags(upstream), PROTEGE_LOOP__ENABLED="false") as server:
        async with server.async_client() as client:
            calls = [
                asyncio.create_task(
                    client.chat.completions.create(
                        model="auto", messages=[{"role": "user", "content": f"cat {number}"}]
                    )
                )
                for number in range(CALLERS)
            ]
            while len(upstream.requests) < CALLERS:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert await asyncio.to_thread(server.stop) == 0
            answers = await asyncio.gather(*calls)
    assert {answer.choices[0].message.content for answer in answers} == {"cat"}


HASTY = "import router.supervise as s; s.GRACE_S = 1; from router.cli import main; main()"


async def test_who_is_not_waited_for_any_more_is_told_and_what_has_come_is_stored(
    upstream: StubUpstream, data: Path
) -> None:
    environment = {"PROTEGE_LOOP__ENABLED": "false"}
    with Server(data, *teacher_flags(upstream), program=HASTY, **environment) as server:
        async with server.async_client() as client:
            asked: Any = {"model": "auto", "messages": [{"role": "user", "content": "cat"}]}
            upstream.gap_s = 10.0
            raw = await client.chat.completions.with_raw_response.create(**asked, stream=True)
            upstream.delay_s = 10.0
            whole = asyncio.create_task(client.chat.completions.create(**asked))
            while len(upstream.requests) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            with pytest.raises(openai.APIError) as streamed:
                async for _ in raw.parse():
                    pass
            with pytest.raises(openai.InternalServerError) as refused:
                await whole
            assert await stopping == 0
    assert streamed.value.code == refused.value.code == "server_stopping"
    assert server.exchange(raw.headers["x-request-id"]).error == "server_stopping"
    assert not any("Exception" in line for line in server.complaints())
