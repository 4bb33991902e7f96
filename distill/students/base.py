"""The interface that every student offers to the router and to the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

TEXT = "text"
"""Name of the rung that writes its answers,"""
HOSTED = "hosted"
"""of the one that has a provider's model answer,"""
EXTRACTION = "extraction"
"""and of the one that copies its answers from the request."""

LEAST_SUPPORT = 3
"""Training answers a label needs."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a rung would answer, and how sure it is."""

    answer: str
    confidence: float
    """Calibrated probability that the teacher would give the same answer."""
    alternatives: tuple[tuple[str, float], ...] = ()
    """Answers with their probabilities, likeliest first, ``answer`` among them."""
    asks: str | None = None
    """The hosted model that is to be asked for the answer; ``answer`` is empty then."""


class Rung(Protocol):
    """One student of a ladder."""

    @property
    def name(self) -> str: ...

    @property
    def fast(self) -> bool:
        """Whether one prediction takes about a millisecond, so that the event loop may make it."""
        ...

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction a text. ``texts`` are varying texts as in ``policies.tasks.Prompt``."""
        ...
