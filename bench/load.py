"""The load generator: clients on keep-alive connections, in a process of its own. They send as soon
as they have an answer (a closed loop), or so many requests a second (an open one).

Prints what it measured as JSON:

    python -m bench.load http://127.0.0.1:9000/v1 --model stub --concurrency 32 --seconds 2
    python -m bench.load http://127.0.0.1:9000/v1 --stream --gap 20
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, cycle
from time import perf_counter, perf_counter_ns
from typing import Annotated, TypeVar, cast
from urllib.parse import urlsplit

import numpy as np
import typer
import uvloop

from bench.tickets import OTHER_TASK, bodies, streams

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SENT = re.compile(rb"t(\d{20}) ")
"""The text of the stub's chunks: when it sent them."""
_BODIES = 512


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of the generator. Latencies are in milliseconds, to the end of the answer."""

    requests: int
    failures: int
    """Answers with another status than 200, and streams that broke off."""
    requests_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class StreamMeasurement:
    """A run of streams from the stub, whose chunks say when they were sent."""

    whole: Measurement
    first_chunk_p50_ms: float
    """From the request to the first chunk with text."""
    chunk_p50_ms: float
    """From the stub's sending of a chunk to its arrival."""
    chunk_p99_ms: float
    held_back: int
    """Chunks that came after the stub had already sent the next."""


class Client(asyncio.Protocol):
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
            self._answered(self._buffer.startswith(b"HTTP/1.1 200"))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError("the server hung up"))

    def _send(self) -> None:
        self._buffer = b""
        self._sent = perf_counter()
        self._transport.write(next(self._requests))

    def _answered(self, well: bool) -> None:
        now = perf_counter()
        self.latencies.append(now - self._sent)
        self.failures += not well
        if now < self._deadline:
            self._send()
        else:
            self.done.set_result(None)
            self._transport.close()


class PacedClient(Client):
    """Sends a request each ``interval`` seconds, the first after a ``delay``.

    One that is late, since the answer before it was, counts from when it was due: a server that
    stalls is not spared the requests that it kept from being sent.
    """

    def __init__(
        self, requests: list[bytes], offset: int, deadline: float, delay: float, interval: float
    ) -> None:
        super().__init__(requests, offset, deadline)
        self._due = perf_counter() + delay
        self._interval = interval

    def _send(self) -> None:
        asyncio.get_running_loop().call_later(max(self._due - perf_counter(), 0.0), self._send_now)

    def _send_now(self) -> None:
        super()._send()
        self._sent, self._due = self._due, self._due + self._interval


class StreamClient(Client):
    """Asks for streams, and notes when their chunks come."""

    def __init__(self, requests: list[bytes], offset: int, deadline: float) -> None:
        super().__init__(requests, offset, deadline)
        self.first_chunks: list[float] = []
        self.chunk_times: list[int] = []
        """Nanoseconds from the stub to here."""
        self._read = 0
        """Bytes of the answer in which chunks have been looked for."""
        self._is_error = False

    def data_received(self, data: bytes) -> None:
        now = perf_counter_ns()
        if not self._buffer:
            self._is_error = _LENGTH.search(data) is not None
        if self._is_error:
            super().data_received(data)
            return
        self._buffer += data
        for sent in _SENT.finditer(self._buffer, self._read):
            if not self._read:
                self.first_chunks.append(now / 1e9 - self._sent)
            self._read = sent.end()
            self.chunk_times.append(now - int(sent[1]))
        if self._buffer.endswith(b"\r\n0\r\n\r\n"):
            self._answered(b"data: [DONE]" in self._buffer)

    def _send(self) -> None:
        self._read = 0
        super()._send()


_C = TypeVar("_C", bound=Client)


@dataclass(frozen=True, slots=True)
class Target:
    """The API to load: its root, and the caller's key."""

    url: str
    key: str = "bench"


async def measure(
    target: Target, payloads: list[bytes], concurrency: int, seconds: float
) -> Measurement:
    """Load ``target``. Raises OSError if a connection fails."""
    clients, elapsed = await _drive(Client, target, payloads, concurrency, seconds)
    return _measured(clients, elapsed)


async def measure_paced(
    target: Target, payloads: list[bytes], concurrency: int, seconds: float, rate: float
) -> Measurement:
    """As ``measure``, at a ``rate`` of so many requests a second over all connections."""
    delays = count()

    def paced(requests: list[bytes], offset: int, deadline: float) -> PacedClient:
        delay = next(delays) / rate
        return PacedClient(requests, offset, deadline, delay, concurrency / rate)

    clients, elapsed = await _drive(paced, target, payloads, concurrency, seconds)
    return _measured(clients, elapsed)


async def measure_streams(
    target: Target, payloads: list[bytes], concurrency: int, seconds: float, gap_ms: int
) -> StreamMeasurement:
    """As ``measure``, with payloads that ask for streams with so much time between two chunks."""
    clients, elapsed = await _drive(StreamClient, target, payloads, concurrency, seconds)
    first = np.concatenate([client.first_chunks for client in clients])
    chunks = np.concatenate([client.chunk_times for client in clients]) / 1e6
    return StreamMeasurement(
        _measured(clients, elapsed),
        first_chunk_p50_ms=1000 * float(np.percentile(first, 50)),
        chunk_p50_ms=float(np.percentile(chunks, 50)),
        chunk_p99_ms=float(np.percentile(chunks, 99)),
        held_back=int((chunks > gap_ms).sum()) if gap_ms else 0,
    )


async def _drive(
    kind: Callable[[list[bytes], int, float], _C],
    target: Target,
    payloads: list[bytes],
    concurrency: int,
    seconds: float,
) -> tuple[list[_C], float]:
    """The clients, done, and the seconds that they took."""
    root = urlsplit(target.url)
    host, port = root.hostname or "", root.port or 80
    requests = [_request(target, body) for body in payloads]
    loop = asyncio.get_running_loop()
    start = perf_counter()
    clients = []
    for number in range(concurrency):
        offset = number * len(requests) // concurrency
        _, client = await loop.create_connection(
            partial(kind, requests, offset, start + seconds),
            host,
            port,
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    return clients, perf_counter() - start


def _measured(clients: Sequence[Client], elapsed: float) -> Measurement:
    latencies = np.concatenate([client.latencies for client in clients])
    p50, p95, p99 = (1000 * float(at) for at in np.percentile(latencies, [50, 95, 99]))
    return Measurement(
        requests=len(latencies),
        failures=sum(client.failures for client in clients),
        requests_per_s=len(latencies) / elapsed,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
    )


def _request(target: Target, body: bytes) -> bytes:
    root = urlsplit(target.url)
    head = (
        f"POST {root.path}/chat/completions HTTP/1.1\r\nhost: {root.netloc}\r\n"
        f"authorization: Bearer {target.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def main(
    url: Annotated[str, typer.Argument(help="Root of an OpenAI-compatible API.")],
    model: Annotated[str, typer.Option(help="The model to ask.")] = "auto",
    task: Annotated[str, typer.Option(help="The task to name.")] = OTHER_TASK,
    key: Annotated[str, typer.Option(help="The caller's key.")] = "bench",
    concurrency: Annotated[int, typer.Option(min=1, help="Connections.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long.")] = 2.0,
    rate: Annotated[
        float | None, typer.Option(help="Requests a second; as many as are answered without it.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Ask for streams.")] = False,
    gap: Annotated[int, typer.Option(min=0, help="Milliseconds between a stream's chunks.")] = 0,
) -> None:
    """Load an OpenAI-compatible API with the bench's tickets; print one JSON object."""
    target = Target(url, key)
    measured: Measurement | StreamMeasurement
    try:
        if stream:
            asked = streams(model, task, _BODIES, 1, gap)
            measured = uvloop.run(measure_streams(target, asked, concurrency, seconds, gap))
        else:
            asked = bodies(model, task, _BODIES, 1)
            run = measure if rate is None else partial(measure_paced, rate=rate)
            measured = uvloop.run(run(target, asked, concurrency, seconds))
    except OSError as error:
        sys.exit(f"{url}: {error}")
    print(json.dumps(dataclasses.asdict(measured)))


if __name__ == "__main__":
    typer.run(main)
