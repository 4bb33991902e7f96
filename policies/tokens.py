"""How many tokens a call will take, by task and model."""

from __future__ import annotations

from typing import NamedTuple

from policies.online import Quantity, RunningMean
from telemetry.prices import Usage

DEFAULT_TOKENS_PER_CHARACTER = 0.25
DEFAULT_COMPLETION_TOKENS = 64.0


class Tokens(NamedTuple):
    """Of one call."""

    expected: Usage
    """On average."""
    most: Usage
    """Its prompt, and its completion, are longer one time in twenty."""


class TokenModel:
    """The tokens of one task's calls to one model.

    Both directions go as powers of the request's length in characters: the prompt with it at
    first, the completion not at all.
    """

    # There are as many as tasks.
    __slots__ = ("_cached", "_completion", "_prompt", "_reasoning", "_written")

    def __init__(self) -> None:
        self._prompt = Quantity(DEFAULT_TOKENS_PER_CHARACTER, 1.0)
        self._completion = Quantity(DEFAULT_COMPLETION_TOKENS, 0.0)
        self._cached = RunningMean(0.0)
        self._written = RunningMean(0.0)
        self._reasoning = RunningMean(0.0)

    @property
    def seen(self) -> int:
        """Calls that it has learnt from."""
        return self._prompt.seen

    def expect(
        self, characters: int, answer: str | None, limit: int | None, choices: int = 1
    ) -> Tokens:
        """For a request of so many ``characters`` that wants so many ``choices``, whose completion
        may have ``limit`` tokens, and gave ``answer`` if that is all that is known of it."""
        prompt = self._prompt.expect(max(characters, 1))
        if answer is None:
            completion = self._completion.expect(max(characters, 1))
            mean, most = choices * completion.mean, choices * completion.p95
        else:
            mean = most = prompt.mean / max(characters, 1) * len(answer)
        if limit is not None:
            mean, most = min(mean, limit), min(most, limit)
        return Tokens(self._usage(prompt.mean, mean), self._usage(prompt.p95, most))

    def add(self, characters: int, usage: Usage) -> None:
        # Nothing counts as one: the logarithm of none would outweigh all others.
        prompt, completion = max(usage.prompt_tokens, 1), max(usage.completion_tokens, 1)
        self._prompt.add(prompt, max(characters, 1))
        self._completion.add(completion, max(characters, 1))
        self._cached.add(usage.cached_tokens / prompt)
        self._written.add(usage.written_tokens / prompt)
        self._reasoning.add(usage.reasoning_tokens / completion)

    def _usage(self, prompt: float, completion: float) -> Usage:
        return Usage(
            round(prompt),
            round(completion),
            cached_tokens=round(self._cached.value * prompt),
            written_tokens=round(self._written.value * prompt),
            reasoning_tokens=round(self._reasoning.value * completion),
        )
