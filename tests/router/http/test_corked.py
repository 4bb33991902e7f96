"""Responses whose parts leave together."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop

from router.http.corked import _Corked


def test_a_caller_that_hangs_up_before_its_answer_leaves_is_no_error() -> None:
    wrong: list[dict[str, Any]] = []

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self._transport = transport

        def data_received(self, _data: bytes) -> None:
            corked = _Corked(self._transport, asyncio.get_running_loop())
            self._transport.abort()
            # Nobody has been told yet that the connection is lost.
            corked.write(b"an answer")

    async def hang_up() -> bytes:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: wrong.append(context))
        server = await loop.create_server(Answering, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"a request")
        try:
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()
            server.close()

    assert uvloop.run(hang_up()) == b""
    assert not wrong
