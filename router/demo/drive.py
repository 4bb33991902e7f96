"""The traffic: requests as any application sends them, through the official client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import openai

from router.demo.samples import Sample
from telemetry.exchange import Route


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for a sample; ``error`` says why nothing did."""

    sample: Sample
    at_s: float
    """Seconds from the start of the run to the end of the answer."""
    latency_s: float
    route: Route = "teacher"
    exchange: str = ""
    text: str = ""
    cost_usd: float = 0.0
    error: str | None = None

    @property
    def sent_s(self) -> float:
        """Seconds from the start of the run to the sending of the request."""
        return self.at_s - self.latency_s


async def drive(
    stream: Sequence[Sample],
    base_url: str,
    concurrency: int,
    on_reply: Callable[[Reply], None],
) -> list[Reply]:
    """Send ``stream`` in order, ``concurrency`` requests at a time; replies in the same order."""
    replies: dict[int, Reply] = {}
    queue = enumerate(stream)
    start = time.perf_counter()
    async with openai.AsyncOpenAI(
        api_key="demo",
        base_url=base_url,
        max_retries=0,
        http_client=openai.DefaultAioHttpClient(trust_env=False),
    ) as client:

        async def caller() -> None:
            for position, sample in queue:
                reply = replies[position] = await _ask(client, sample, start)
                on_reply(reply)

        async with asyncio.TaskGroup() as callers:
            for _ in range(concurrency):
                callers.create_task(caller())
    return [replies[position] for position in range(len(stream))]


async def _ask(client: openai.AsyncOpenAI, sample: Sample, start: float) -> Reply:
    sent = time.perf_counter()
    try:
        raw = await client.chat.completions.with_raw_response.create(
            model="auto", messages=cast(Any, list(sample.messages))
        )
        completion = raw.parse()
        text = completion.choices[0].message.content or ""
    except openai.OpenAIError as error:
        now = time.perf_counter()
        return Reply(sample, now - start, now - sent, error=" ".join(str(error).split()))
    now = time.perf_counter()
    return Reply(
        sample,
        at_s=now - start,
        latency_s=now - sent,
        route="student" if raw.headers["x-protege-route"] == "student" else "teacher",
        exchange=raw.headers["x-request-id"],
        text=text,
        cost_usd=float(raw.headers["x-protege-cost"]),
    )
