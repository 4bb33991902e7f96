"""Whether a stream of Gemini's has come to its end.

litellm takes every chunk of Gemini's for a last one, so that it ends a stream well that stopped in
the middle of an answer. Here the bytes are read along the way for a reason to end.
"""

from __future__ import annotations

_REASONS = (b'"finishReason"', b'"blockReason"')
_LONGEST = max(map(len, _REASONS))


class End:
    """Set when the provider has said why its answer ends."""

    def __init__(self) -> None:
        self.came = False
        self._tail = b""

    def read(self, part: bytes) -> None:
        # A reason may straddle two parts.
        content = self._tail + part
        self.came = self.came or any(reason in content for reason in _REASONS)
        self._tail = content[-_LONGEST:]
