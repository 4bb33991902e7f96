"""What goes on beside the requests, for a caller who has the answer already: audits, tryouts,
questions in the shadow."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence

from router.chain import Answered, ask
from router.models import Model
from router.turn import Turn
from router.upstreams.answer import Answer, read_completion


class Beside:
    """Pieces of work beside the requests, at most so many under way or waiting."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[None, None, None]) -> bool:
        """Begin a piece of work; False, and it is left out, where there are too many."""
        if len(self._under_way) >= self._most:
            work.close()
            return False
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return True

    async def finish(self, within_s: float) -> None:
        """Wait for what is under way, and give up what takes longer."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=within_s)
            for task in late:
                task.cancel()

    def give_up(self) -> None:
        for task in self._under_way:
            task.cancel()


async def ask_beside(models: Sequence[Model], turn: Turn) -> Answered[Answer]:
    """What the first of ``models`` that answers says to the request of a ``turn``, whole. Raises
    UpstreamError."""

    async def call(model: Model) -> Answer:
        body = turn.request.for_upstream(model.upstream.model, stream=False)
        return read_completion(await model.upstream.complete(body, turn.arrival.authorization))

    return await ask(models, call)
