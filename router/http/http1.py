"""Connections that stay with HTTP/1.1, whatever a client would rather speak.

A client may offer to go on in another protocol, and a server may take no notice (RFC 9110, section
7.8). Java's offers HTTP/2 with every first request over plain HTTP. The parser below uvicorn takes
the offer for a promise: it reads no more of the request, and the body would be lost.
"""

from __future__ import annotations

import re

from router.http.corked import CorkedHttp

_OFFER = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_END = b"\r\n\r\n"


class Http1(CorkedHttp):
    """uvicorn's protocol, which is never shown an offer."""

    def data_received(self, data: bytes) -> None:
        if b"pgrade:" in data and self._is_head():
            head, end, body = data.partition(_END)
            data = _OFFER.sub(b"", head) + end + body
        super().data_received(data)

    def _is_head(self) -> bool:
        """Whether what comes next is no part of a body. Clients send a head in one piece."""
        return self.cycle is None or not self.cycle.more_body
