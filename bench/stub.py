"""The stub upstream: an OpenAI-compatible server that costs as little as Python allows.

python -m bench.stub 9000
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from time import perf_counter_ns
from typing import cast

import uvloop

from bench.tickets import DEPARTMENTS, department

CHUNKS = 20
"""Events of a stream that are chunks of the answer, the first and the last without text."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_GAP = re.compile(rb'"user": ?"gap-(\d+)"')
_STREAM = re.compile(rb'"stream": ?true')
_USAGE = re.compile(rb'"include_usage": ?true')

_CREATED = 1767225600
_COUNTED = {"prompt_tokens": 96, "completion_tokens": 1, "total_tokens": 97}


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
            "created": _CREATED,
            "model": "gpt-5.4",
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            ],
            "usage": _COUNTED,
        }
    )


def _chunk(choices: list[object], usage: object = None) -> bytes:
    return _event(
        json.dumps(
            {
                "id": "chatcmpl-stub",
                "object": "chat.completion.chunk",
                "created": _CREATED,
                "model": "gpt-5.4",
                "choices": choices,
                "usage": usage,
            }
        )
    )


def _event(data: str) -> bytes:
    """One event of a stream, as one chunk of HTTP's chunked encoding."""
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> object:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


_MODELS = _response({"object": "list", "data": []})
_COMPLETIONS = {name: _completion(name) for name in DEPARTMENTS}

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
_FIRST = _chunk([_choice({"role": "assistant", "content": ""})])
_TEXT = _chunk([_choice({"content": f"t{0:020d} "})])
_TEXT_HEAD, _TEXT_TAIL = _TEXT.split(b"0" * 20)
_LAST = _chunk([_choice({}, "stop")])
_USAGE_CHUNK = _chunk([], _COUNTED)
_DONE = _event("[DONE]") + b"0\r\n\r\n"


def _text() -> bytes:
    """A chunk whose text is the moment that it is sent: nanoseconds of ``perf_counter_ns``, which
    is the same clock in all processes of a machine."""
    return b"%s%020d%s" % (_TEXT_HEAD, perf_counter_ns(), _TEXT_TAIL)


class Stub(asyncio.Protocol):
    """One connection. Every request is answered at once from ready-made bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            total = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < total:
                return
            request, self._buffer = self._buffer[:total], self._buffer[total:]
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        if request.startswith(b"GET"):
            self._transport.write(_MODELS)
        elif _STREAM.search(request):
            gap = _GAP.search(request)
            self._transport.write(_STREAM_HEAD + _FIRST)
            ending = _LAST + (_USAGE_CHUNK if _USAGE.search(request) else b"") + _DONE
            self._go_on(CHUNKS - 2, int(gap[1]) / 1000 if gap else 0.0, ending)
        else:
            # From the last message on: the instruction before it names the departments.
            self._transport.write(_COMPLETIONS[department(request[request.rfind(b"user") :])])

    def _go_on(self, left: int, gap_s: float, ending: bytes) -> None:
        """Send the rest of a stream, a chunk at a time as a model does."""
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(ending)
            return
        self._transport.write(_text())
        if gap_s:
            self._loop.call_later(gap_s, self._go_on, left - 1, gap_s, ending)
        else:
            self._loop.call_soon(self._go_on, left - 1, gap_s, ending)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
