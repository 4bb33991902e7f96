"""Which of a task's answers are today's teacher's: what another model said before it was replaced
is not what students promise to agree with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from telemetry.exchange import Exchange

NEWEST = 200
"""Answers among which those of every model of the chain are found that is still asked."""


@dataclass(frozen=True, slots=True)
class Teachers:
    """The models that give the teacher's answers."""

    models: frozenset[str]
    since: float
    """Unix time of their first answer; minus infinity where there were no others."""

    @classmethod
    def of(cls, exchanges: Sequence[Exchange]) -> Teachers:
        """Those of a task with these ``exchanges``, oldest first."""
        answered = [exchange for exchange in exchanges if exchange.route == "teacher"]
        models = frozenset(exchange.model for exchange in answered[-NEWEST:])
        theirs = [exchange.created for exchange in answered if exchange.model in models]
        return cls(models, -math.inf if len(theirs) == len(answered) else min(theirs))

    def gave(self, exchange: Exchange) -> bool:
        """Whether the teacher's answer is one of theirs. Whose an audit's is, its time tells."""
        if exchange.route == "teacher":
            return exchange.model in self.models
        return exchange.created >= self.since


def successors(newest: Sequence[str], taught: Mapping[str, int]) -> frozenset[str]:
    """The models that have replaced those that students were taught by: of the former are a task's
    ``newest`` teacher answers, of the latter most of the answers that were ``taught``, by model.
    Empty where there are no such models."""
    models = frozenset(newest[:NEWEST])
    theirs = sum(times for model, times in taught.items() if model in models)
    # A model that stood in for a while comes and goes.
    is_replaced = len(newest) >= NEWEST and 2 * theirs < sum(taught.values())
    return models if is_replaced else frozenset()
