"""Which of a task's answers are today's teacher's: what another model said before it was replaced
is not what students promise to agree with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from telemetry.exchange import Exchange

_NEWEST = 200
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
        models = frozenset(exchange.model for exchange in answered[-_NEWEST:])
        theirs = [exchange.created for exchange in answered if exchange.model in models]
        return cls(models, -math.inf if len(theirs) == len(answered) else min(theirs))

    def gave(self, exchange: Exchange) -> bool:
        """Whether the teacher's answer is one of theirs. Whose an audit's is, its time tells."""
        if exchange.route == "teacher":
            return exchange.model in self.models
        return exchange.created >= self.since
