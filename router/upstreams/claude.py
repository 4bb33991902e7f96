"""At which stop sequence an answer of Claude's ended: litellm tells only that it ended at one.

Source of the wire format: https://docs.anthropic.com/en/api/messages.
"""

from __future__ import annotations

import orjson

_NAME = b'"stop_sequence"'


class Stop:
    """Reads a message, whole or as a stream, for the stop sequence that it met."""

    def __init__(self) -> None:
        self._met: str | None = None
        self._line = b""
        """What has come of the last line; all of a whole message."""

    def read(self, part: bytes) -> None:
        *lines, self._line = (self._line + part).split(b"\n")
        for line in lines:
            self._met = _sequence_in(line) or self._met

    @property
    def sequence(self) -> str | None:
        """None as long as there was none."""
        return self._met or _sequence_in(self._line)


def _sequence_in(line: bytes) -> str | None:
    # Of a stream's many lines only the first and the last have it.
    if _NAME not in line:
        return None
    try:
        said = orjson.loads(line.removeprefix(b"data:"))
        return (said["delta"] if said["type"] == "message_delta" else said).get("stop_sequence")
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        # That it is no message is for litellm to say.
        return None
