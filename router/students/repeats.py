"""Repeats: the teacher is asked again what it has answered, after the caller has its answer.

For a random share of its answers. What it then says tells how often it agrees with itself, and
which of its answers are likely wrong (docs/data.md).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

import orjson

from policies.agreement import agree
from policies.rules import needs_teacher
from router.errors import StoreUnavailableError, UpstreamError
from router.ledger import Ledger
from router.models import Model
from router.students.beside import Beside, ask_beside
from router.turn import Turn
from telemetry.store import Repeat

AT_ONCE = 32
"""Repeats under way at the same time: callers go first."""
WAITING = 1000
"""Repeats under way or waiting; beyond it an answer goes without."""

FINISH_S = 30.0
"""How long repeats may take to finish when the server stops."""

_log = logging.getLogger(__name__)


class Repeats:
    """Asks the teacher's ``chain`` again for a ``share`` of its answers, in the background."""

    def __init__(self, chain: Sequence[Model], share: float, ledger: Ledger) -> None:
        self._chain = chain
        self._share = share
        self._ledger = ledger
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._under_way = Beside(WAITING)

    def start(self, turn: Turn, said: str, expected: int) -> None:
        """Ask again, or not, for what the teacher ``said``; each time may cost about the
        ``expected`` picodollars again."""
        ours = turn.route == "teacher" and turn.decision is not None and turn.request.store
        if not ours or random.random() >= self._share or needs_teacher(turn.request.body):
            return
        # It gives back what it holds, which is no audit's: the teacher has answered.
        turn.audited = self._under_way.begin(self._repeat(turn, said, expected))

    async def finish(self) -> None:
        """Wait for the repeats under way, and give up those that take too long."""
        await self._under_way.finish(FINISH_S)

    async def _repeat(self, turn: Turn, said: str, expected: int) -> None:
        budgets, identifier = self._ledger.budgets, turn.arrival.id
        try:
            if turn.account is None or await budgets.hold_audit(
                turn.account, identifier, 2 * expected
            ):
                await self._ask_again(turn, said)
        except StoreUnavailableError as error:
            _log.info("the teacher of task %s was not asked again: %s", turn.task, error)
        finally:
            await budgets.give_back_audit(turn)

    async def _ask_again(self, turn: Turn, said: str) -> None:
        texts: list[str] = []
        cost = 0
        async with self._slots:
            try:
                # Of two that differ nobody knows which one is wrong.
                while len(texts) < 2 and all(not agree(said, text) for text in texts):
                    answered = await ask_beside(self._chain, turn)
                    answer = answered.value
                    usage = self._ledger.usage(turn, answered.model, answer)
                    cost += answered.model.price.cost(usage)
                    if answer.finish_reason != "stop" or answer.text is None:
                        break
                    texts.append(answer.text)
            except UpstreamError as error:
                _log.info("the teacher of task %s was not asked again: %s", turn.task, error)
            except Exception:
                _log.exception("the teacher of task %s was not asked again", turn.task)
            repeats = orjson.dumps(texts).decode() if texts else None
            try:
                await self._ledger.record_repeat(turn, Repeat(turn.arrival.id, repeats, cost))
            except Exception as error:
                _log.error("what the teacher said again could not be stored: %s", error)
