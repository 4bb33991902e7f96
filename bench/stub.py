"""The stub upstream: an OpenAI-compatible server that costs as little as Python allows.

python -m bench.stub 9000
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import cast

import uvloop

from bench.tickets import DEPARTMENTS, department

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def _response(content: dict[str, object]) -> bytes:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def _completion(text: str) -> bytes:
    message = {"role": "assistant", "content": text, "refusal": None}
    return _response(
        {
            "id": "chatcmpl-stub",
            "object": "chat.completion",
            "created": 1767225600,
            "model": "gpt-5.4",
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 96, "completion_tokens": 1, "total_tokens": 97},
        }
    )


_MODELS = _response({"object": "list", "data": []})
_COMPLETIONS = {name: _completion(name) for name in DEPARTMENTS}


class Stub(asyncio.Protocol):
    """One connection. Every request is answered at once from ready-made bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            total = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < total:
                return
            request, self._buffer = self._buffer[:total], self._buffer[total:]
            if request.startswith(b"GET"):
                self._transport.write(_MODELS)
            else:
                # From the last message on: the instruction before it names the departments.
                self._transport.write(_COMPLETIONS[department(request[request.rfind(b"user") :])])


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
