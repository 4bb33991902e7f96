"""Connections that stay with HTTP/1.1, whatever a client would rather speak, and do not read on
without end.

A client may offer to go on in another protocol, and a server may take no notice (RFC 9110, section
7.8). Java's offers HTTP/2 with every first request over plain HTTP. The parser below uvicorn takes
the offer for a promise: it reads no more of the request, and the body would be lost.

uvicorn keeps whatever comes until a request's head is complete, which is before anybody knows whose
it is: headers without end would take all memory.
"""

from __future__ import annotations

import re

from router.http.corked import CorkedHttp

_OFFER = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_END = b"\r\n\r\n"

LONGEST_HEAD = 65_536
"""Bytes of a head that is not complete; so many may come after a body, too."""

_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\n"
    b"connection: close\r\n"
    b"\r\n"
)


class Http1(CorkedHttp):
    """uvicorn's protocol, which is never shown an offer, nor headers without end."""

    _unfinished = 0
    """Bytes that have come since a head was complete, or a part of a body."""

    def data_received(self, data: bytes) -> None:
        if b"pgrade:" in data and self._is_head():
            head, end, body = data.partition(_END)
            data = _OFFER.sub(b"", head) + end + body
        self._unfinished += len(data)
        super().data_received(data)
        if self._unfinished > LONGEST_HEAD and not self.transport.is_closing():
            self._turn_away()

    def on_headers_complete(self) -> None:
        self._unfinished = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        super().on_body(body)

    def _turn_away(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_TOO_LONG)
        self.transport.close()

    def _is_head(self) -> bool:
        """Whether what comes next is no part of a body. Clients send a head in one piece."""
        return self.cycle is None or not self.cycle.more_body
