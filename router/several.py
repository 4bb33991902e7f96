"""Several requests in one, such as a legacy completion of several prompts.

Each is a request of its own to the engine: decided, counted and written down alone. The caller gets
one answer once all are there, or the first failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from decimal import Decimal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]

AT_ONCE = 8
"""So many of them are under way at a time, or one caller would keep all others waiting."""

_ID = b"x-request-id"
_ROUTE = b"x-protege-route"
_SUMS = (b"x-protege-cost", b"x-protege-saved")
_LENGTH = b"content-length"


class SeveralRequestsError(Exception):
    """A request has to be answered as several; ``merge`` makes one answer of theirs."""

    def __init__(self, bodies: Generator[bytes], merge: Callable[[list[bytes]], bytes]) -> None:
        super().__init__("several requests in one")
        # Made as they are needed: what they share may be large.
        self.bodies = bodies
        self.merge = merge


@dataclass(slots=True)
class _Answer:
    """What one of the requests was answered with."""

    status: int | None = None
    """None as long as there is no answer, and where the caller hung up."""
    headers: Headers = field(default_factory=list)
    content: bytes = b""

    async def take(self, message: Message) -> None:
        """Stands in for the caller."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
        else:
            self.content += message["body"]


async def answer_each(
    one: ASGIApp, several: SeveralRequestsError, scope: Scope, receive: Receive, send: Send
) -> None:
    """Have ``one`` answer each request, and send the answer to all; none if the caller hung up."""
    answers = await _answers(one, several.bodies, scope, receive)
    failed = [each for each in answers if each.status not in (None, 200)]
    if failed:
        await _send(send, failed[0])
    elif all(each.status for each in answers):
        content = several.merge([each.content for each in answers])
        await _send(send, _Answer(200, _merged([each.headers for each in answers]), content))


async def _answers(
    one: ASGIApp, bodies: Generator[bytes], scope: Scope, receive: Receive
) -> list[_Answer]:
    """Once one has failed no other is begun, but those under way are paid for: they end."""
    answers: list[_Answer] = []

    async def work() -> None:
        for body in bodies:
            answer = _Answer()
            answers.append(answer)
            await one(scope, _after(body, receive), answer.take)
            if answer.status != 200:
                bodies.close()

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return answers


def _after(body: bytes, receive: Receive) -> Receive:
    """Receives ``body``, and then what the caller does."""
    given = [body]

    async def receive_next() -> Message:
        if given:
            return {"type": "http.request", "body": given.pop(), "more_body": False}
        return await receive()

    return receive_next


def _merged(headers: list[Headers]) -> Headers:
    """What is the same in all, or can be summed up; whether the route is not; the first one's id,
    and that of each."""
    first, *others = map(dict, headers)
    merged = {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in others)
    }
    merged.setdefault(_ROUTE, b"mixed")
    for name in _SUMS:
        total = sum(Decimal(each[name].decode()) for each in (first, *others))
        merged[name] = f"{total:f}".encode()
    ids = [each[_ID] for each in (first, *others)]
    return [
        *merged.items(),
        (_ID, ids[0]),
        (b"request-id", ids[0]),
        (b"x-protege-exchanges", b", ".join(ids)),
    ]


async def _send(send: Send, answer: _Answer) -> None:
    headers = [each for each in answer.headers if each[0] != _LENGTH]
    headers.append((_LENGTH, str(len(answer.content)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content})
