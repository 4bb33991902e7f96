"""Server-sent events, cut out of a byte stream whatever the network did to it."""

from __future__ import annotations

import re

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class EventSplitter:
    """Collects bytes until they make whole events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes) -> list[bytes]:
        """The events that ``received`` completes, each with the blank line that ends it."""
        # The end of an event may straddle two network chunks, but no further back than 3 bytes.
        search_from = max(0, len(self._rest) - 3)
        buffer = self._rest + received
        events = []
        start = 0
        for match in _END.finditer(buffer, search_from):
            events.append(buffer[start : match.end()])
            start = match.end()
        self._rest = buffer[start:]
        return events

    def end(self) -> list[bytes]:
        """The last event, where the stream ended without the blank line after it."""
        return [self._rest + b"\n\n"] if self._rest.strip() else []


def data_of(event: bytes) -> bytes:
    """The payload of an event; empty for a comment or a keep-alive."""
    lines = [
        line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")
    ]
    return b"\n".join(lines)
