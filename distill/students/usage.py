"""What the teacher would have been paid for a request that a student answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from distill.data.dataset import Example
from distill.students.base import LEAST_SUPPORT
from telemetry.prices import Usage


@dataclass(frozen=True, slots=True)
class UsageModel:
    """Tokens as the teacher counts them, learnt from its own answers on the task."""

    base: float
    """Prompt tokens of the constant instruction."""
    per_character: float
    """Prompt tokens for each character of the varying text."""
    completion: Mapping[str, float]
    """Mean completion tokens of each frequent answer: rare ones may be anybody's words, which a
    student must not keep."""
    error: float
    """Mean absolute error of the prompt tokens, as a share of their mean, on the examples."""
    longest: int | None = None
    """Characters of the longest varying text among the examples; None where nobody counted."""
    per_answer_character: float = 0.25
    """Completion tokens for each character of an answer that is not in ``completion``."""

    def estimate(self, text: str, answer: str) -> Usage:
        """Tokens for the varying ``text`` answered with ``answer``."""
        prompt = max(1, round(self.base + self.per_character * len(text)))
        unseen = self.per_answer_character * len(answer)
        return Usage(prompt, max(1, round(self.completion.get(answer, unseen))))


def fit(examples: Sequence[Example]) -> UsageModel:
    """Least squares over ``examples`` whose teacher reported its usage."""
    by_answer = defaultdict(list)
    for example in examples:
        by_answer[example.answer].append(example.completion_tokens)
    completion = {
        answer: fmean(tokens)
        for answer, tokens in by_answer.items()
        if len(tokens) >= LEAST_SUPPORT
    }
    lengths = np.array([len(example.text) for example in examples], dtype=float)
    tokens = np.array([example.prompt_tokens for example in examples], dtype=float)
    if np.ptp(lengths) == 0:
        return UsageModel(float(tokens.mean()), 0.0, completion, 0.0, int(lengths.max()))
    slope, base = np.polyfit(lengths, tokens, 1)
    misses = np.abs(base + slope * lengths - tokens)
    error = float(misses.mean() / max(tokens.mean(), 1.0))
    return UsageModel(float(base), float(slope), completion, error, int(lengths.max()))
