"""The load generator: closed-loop clients on keep-alive connections, in a process of its own.

Prints what it measured as JSON:

    python -m bench.load http://127.0.0.1:9000/v1 --model stub --concurrency 32 --seconds 2
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import sys
from dataclasses import dataclass
from itertools import cycle
from time import perf_counter
from typing import Annotated, cast
from urllib.parse import urlsplit

import numpy as np
import typer
import uvloop

from bench.tickets import OTHER_TASK, bodies

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BODIES = 512


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of the generator. Latencies are in milliseconds."""

    requests: int
    failures: int
    """Answers with another status than 200."""
    requests_per_s: float
    p50_ms: float
    p95_ms: float


class _Client(asyncio.Protocol):
    """Sends the next request as soon as the last one is answered, until ``deadline``."""

    def __init__(self, requests: list[bytes], offset: int, deadline: float) -> None:
        self._requests = cycle(requests[offset:] + requests[:offset])
        self._deadline = deadline
        self._buffer = b""
        self.latencies: list[float] = []
        self.failures = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end)
        if length is None:
            self.done.set_exception(RuntimeError("an answer without content-length"))
            self._transport.close()
        elif len(self._buffer) >= end + 4 + int(length[1]):
            self._answered()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError("the server hung up"))

    def _send(self) -> None:
        self._buffer = b""
        self._sent = perf_counter()
        self._transport.write(next(self._requests))

    def _answered(self) -> None:
        now = perf_counter()
        self.latencies.append(now - self._sent)
        self.failures += not self._buffer.startswith(b"HTTP/1.1 200")
        if now < self._deadline:
            self._send()
        else:
            self.done.set_result(None)
            self._transport.close()


async def measure(url: str, payloads: list[bytes], concurrency: int, seconds: float) -> Measurement:
    """Load the API whose root is ``url``. Raises OSError if a connection fails."""
    root = urlsplit(url)
    host, port = root.hostname or "", root.port or 80
    requests = [_request(root.netloc, f"{root.path}/chat/completions", body) for body in payloads]
    loop = asyncio.get_running_loop()
    start = perf_counter()
    clients = []
    for number in range(concurrency):
        offset = number * len(requests) // concurrency
        _, client = await loop.create_connection(
            lambda offset=offset: _Client(requests, offset, start + seconds),  # type: ignore[misc]
            host,
            port,
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    elapsed = perf_counter() - start
    latencies = np.concatenate([client.latencies for client in clients])
    return Measurement(
        requests=len(latencies),
        failures=sum(client.failures for client in clients),
        requests_per_s=len(latencies) / elapsed,
        p50_ms=1000 * float(np.percentile(latencies, 50)),
        p95_ms=1000 * float(np.percentile(latencies, 95)),
    )


def _request(host: str, path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer bench\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def main(
    url: Annotated[str, typer.Argument(help="Root of an OpenAI-compatible API.")],
    model: Annotated[str, typer.Option(help="The model to ask.")] = "auto",
    task: Annotated[str, typer.Option(help="The task to name.")] = OTHER_TASK,
    concurrency: Annotated[int, typer.Option(min=1, help="Connections.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long.")] = 2.0,
) -> None:
    """Load an OpenAI-compatible API with the bench's tickets; print one JSON object."""
    payloads = bodies(model, task, _BODIES, seed=1)
    try:
        measured = uvloop.run(measure(url, payloads, concurrency, seconds))
    except OSError as error:
        sys.exit(f"{url}: {error}")
    print(json.dumps(dataclasses.asdict(measured)))


if __name__ == "__main__":
    typer.run(main)
