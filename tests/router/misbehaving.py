"""An upstream that misbehaves to order, byte by byte: HTTP written by hand on a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

Behaviour = Callable[[asyncio.StreamWriter, dict[str, Any]], Awaitable[None]]
"""Answers one request, given its body. Returning closes the connection."""

FOREVER_S = 60.0


class MisbehavingUpstream:
    """Treats the next requests as ``then`` said, and all others well."""

    def __init__(self) -> None:
        self._script: list[Behaviour] = []
        self.requests: list[dict[str, Any]] = []
        self.hung_up = threading.Event()
        """Set when a caller closes a connection that ``hang`` keeps."""
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def then(self, *script: Behaviour) -> None:
        """Forget what has been asked, and treat the next requests so."""
        self.requests.clear()
        self.hung_up.clear()
        self._script = list(script)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        self.requests.append(body)
        behave = self._script.pop(0) if self._script else well
        watch = asyncio.create_task(self._watch(reader))
        with suppress(ConnectionError):
            await behave(writer, body)
        watch.cancel()
        writer.close()

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            await reader.read()
        self.hung_up.set()


def completion(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    return json.dumps(
        {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
        | {"choices": [choice], "usage": usage}
    ).encode()


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    content = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps(content | {"choices": [choice]}).encode() + b"\n\n"


FIRST = chunk({"role": "assistant", "content": "ca"})
LAST = chunk({"content": "t"}) + chunk({}, "stop")
DONE = b"data: [DONE]\n\n"


def head(status: int, kind: str, *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Any", f"content-type: {kind}", "connection: close", *more]
    return "\r\n".join([*lines, "", ""]).encode()


STREAM = head(200, "text/event-stream")


async def well(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
    if body.get("stream"):
        writer.write(STREAM + FIRST + LAST + DONE)
    else:
        writer.write(head(200, "application/json") + completion("cat"))
    await writer.drain()


def status(code: int, *more: str) -> Behaviour:
    """Answers with an error in OpenAI's shape."""

    async def behave(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
        error = {"message": "out of order", "type": "stub", "param": None, "code": "stub_code"}
        content = json.dumps({"error": error}).encode()
        writer.write(head(code, "application/json", *more) + content)
        await writer.drain()

    return behave


def say(content: bytes) -> Behaviour:
    """Sends ``content`` as the body, in the form that was asked for, and closes."""

    async def behave(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        kind = "text/event-stream" if body.get("stream") else "application/json"
        writer.write(head(200, kind) + content)
        await writer.drain()

    return behave


def drip(gap_s: float) -> Behaviour:
    """A good answer, a few bytes at a time."""

    async def behave(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        whole = STREAM + FIRST + LAST + DONE
        if not body.get("stream"):
            whole = head(200, "application/json") + completion("cat")
        for start in range(0, len(whole), 40):
            writer.write(whole[start : start + 40])
            await writer.drain()
            await asyncio.sleep(gap_s)

    return behave


async def reset(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
    """Not a byte, then a TCP reset."""
    _abort(writer)


async def reset_midway(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
    begun = STREAM + FIRST if body.get("stream") else head(200, "application/json") + b'{"id"'
    writer.write(begun)
    await writer.drain()
    await asyncio.sleep(0.1)
    _abort(writer)


async def hang(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
    """Never a byte."""
    await asyncio.sleep(FOREVER_S)


async def hang_midway(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
    """The first token, then nothing."""
    writer.write(STREAM + FIRST if body.get("stream") else head(200, "application/json") + b"{")
    await writer.drain()
    await asyncio.sleep(FOREVER_S)


async def never_end(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
    """Token after token."""
    writer.write(STREAM + FIRST)
    while True:
        writer.write(chunk({"content": "a"}))
        await writer.drain()
        await asyncio.sleep(0.05)


def _abort(writer: asyncio.StreamWriter) -> None:
    # Lingering for no time makes the kernel send RST instead of FIN.
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
