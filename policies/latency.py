"""How long a model takes, to the first token and to the end of its answer."""

from __future__ import annotations

from policies.online import Expected, Quantity

_ANY = 1.0
"""Seconds to begin with; the first answer replaces it."""

_UNKNOWN = Expected(0.0, 0.0, 0.0)
"""Of a model that has not been seen yet: who is thought slow is never asked, and nobody learns
better."""


class LatencyModel:
    """The seconds that one model's answers take, from the request's arrival.

    They go as powers of how much it has to do at once, and of the tokens that it reads, for the
    first token, or is expected to write, for the end.
    """

    def __init__(self) -> None:
        self._first_token = Quantity(_ANY, 0.0, 0.0)
        self._end = Quantity(_ANY, 0.0, 0.0)

    @property
    def seen(self) -> int:
        """Answers that it has learnt from."""
        return self._end.seen

    def first_token(self, prompt_tokens: int, load: int) -> Expected | None:
        """None where no streamed answer has been seen."""
        if not self._first_token.seen:
            return None
        return self._first_token.expect(1 + prompt_tokens, 1 + load)

    def end(self, completion_tokens: int, load: int) -> Expected:
        return self._end.expect(1 + completion_tokens, 1 + load) if self._end.seen else _UNKNOWN

    def saw_first_token(self, seconds: float, prompt_tokens: int, load: int) -> None:
        self._first_token.add(seconds, 1 + prompt_tokens, 1 + load)

    def saw_end(self, seconds: float, completion_tokens: int, load: int) -> None:
        self._end.add(seconds, 1 + completion_tokens, 1 + load)
