"""Requests to one HTTP/1.1 server over kept-alive connections (RFC 9112).

httptools parses what comes, asyncio and the event loop's transports do the rest. A general client
brings sessions, redirects, cookies and objects for every header: for a gateway, whose requests are
all alike, they take several times what sending and reading does (``docs/performance.md``).

Raises ConnectError, LostError and TimeoutError, all of them OSError.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import zlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast
from urllib.parse import SplitResult, unquote, urlsplit

import httptools

_IDLE_S = 4.0
"""Below the 5 s after which common servers close an idle connection: a request sent at that very
moment would be lost."""

_MOST_WAITING = 2**18
"""Bytes of an answer that may wait for their reader before no more are taken from the network."""

_PORTS = {"http": 80, "https": 443}
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS


class ConnectError(ConnectionError):
    """There is no connection to the server."""


class LostError(ConnectionError):
    """The connection was lost, or what came over it is no answer."""


class CutError(LostError):
    """The same, after the answer had begun."""


@dataclass(frozen=True)
class Origin:
    """Where requests go: the server, or a proxy before it."""

    url: SplitResult
    proxy: SplitResult | None

    @classmethod
    def of(cls, url: str, proxy: str | None) -> Origin:
        """Raises ValueError if ``url`` is not one of HTTP's."""
        server = urlsplit(url)
        if server.scheme not in _PORTS or not server.hostname:
            raise ValueError(f"not a URL of a server: {url!r}")
        # A number that is no port is found out here.
        _ = server.port
        return cls(server, urlsplit(proxy) if proxy else None)

    @property
    def secure(self) -> bool:
        return self.url.scheme == "https"

    @cached_property
    def name(self) -> str:
        """The server's host, as it is looked up and stands in its certificate."""
        host = self.url.hostname or ""
        return host if host.isascii() else host.encode("idna").decode()

    @cached_property
    def host(self) -> str:
        """The ``host`` header."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.url.port in (None, _PORTS[self.url.scheme]) else f"{name}:{self.port}"

    @property
    def port(self) -> int:
        return self.url.port or _PORTS[self.url.scheme]

    @property
    def tunnelled(self) -> bool:
        return self.secure and self.proxy is not None

    def head(self, path: str) -> bytes:
        """The lines that every request for ``path`` begins with."""
        if self.proxy is None or self.tunnelled:
            return f"POST {path} HTTP/1.1\r\nhost: {self.host}\r\n".encode()
        line = f"POST {self.url.scheme}://{self.host}{path} HTTP/1.1\r\nhost: {self.host}\r\n"
        return line.encode() + self._credentials

    @property
    def tunnel(self) -> bytes:
        """The request for a tunnel through the proxy (RFC 9110, 9.3.6)."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        where = f"{name}:{self.port}"
        line = f"CONNECT {where} HTTP/1.1\r\nhost: {where}\r\n"
        return line.encode() + self._credentials + b"\r\n"

    @property
    def _credentials(self) -> bytes:
        if self.proxy is None or self.proxy.username is None:
            return b""
        pair = f"{unquote(self.proxy.username)}:{unquote(self.proxy.password or '')}"
        return b"proxy-authorization: Basic " + base64.b64encode(pair.encode()) + b"\r\n"


class Connections:
    """Connections to ``origin``, opened as they are needed: one for each answer under way.

    To open one takes at most ``connect_s`` seconds. For the tasks of one event loop.
    """

    def __init__(self, origin: Origin, connect_s: float) -> None:
        self._origin = origin
        self._connect_s = connect_s
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()

    @cached_property
    def _context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context() if self._origin.secure else None

    async def post(
        self, path: str, headers: Mapping[str, str], body: bytes, silence_s: float | None = None
    ) -> Response:
        """The response, once its head has come. It must be closed.

        Between two pieces of it at most ``silence_s`` seconds may pass. Raises ValueError for
        a header that cannot be sent.
        """
        lines = [self._origin.head(path), *(_line(*header) for header in headers.items())]
        lines.append(b"content-length: %d\r\n\r\n" % len(body))
        connection = self._take() or await self._connect()
        response = connection.send(b"".join(lines), body, silence_s)
        try:
            await response.begun()
        except BaseException:
            response.close()
            raise
        return response

    def close(self) -> None:
        for connection in list(self._open):
            connection.abort()

    def _take(self) -> _Connection | None:
        """The connection that was used last: the others may become too old."""
        oldest = asyncio.get_running_loop().time() - _IDLE_S
        while self._idle and self._idle[0].since < oldest:
            self._idle.popleft().abort()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        origin = self._origin
        try:
            async with asyncio.timeout(self._connect_s):
                if origin.proxy is None:
                    _, made = await loop.create_connection(
                        self._new, origin.name, origin.port, ssl=self._context
                    )
                else:
                    proxy = origin.proxy
                    port = proxy.port or _PORTS["http"]
                    _, made = await loop.create_connection(self._new, proxy.hostname or "", port)
                    if self._context is not None:
                        await made.tunnel(origin, self._context)
        except TimeoutError as error:
            raise ConnectError(f"no connection within {self._connect_s:g} s") from error
        except OSError as error:
            raise ConnectError(str(error) or type(error).__name__) from error
        return made

    def _new(self) -> _Connection:
        return _Connection(self._idle, self._open)


class _Connection(asyncio.Protocol):
    """One connection and the response that is read from it, if any."""

    transport: asyncio.Transport

    def __init__(self, idle: deque[_Connection], open_: set[_Connection]) -> None:
        self._idle, self._open = idle, open_
        self._response: Response | None = None
        self._parser = httptools.HttpResponseParser(self)
        self.since = 0.0
        """When it became idle, on the event loop's clock."""

    @property
    def usable(self) -> bool:
        return not self.transport.is_closing()

    def send(self, head: bytes, body: bytes, silence_s: float | None) -> Response:
        """Send a request; its response has yet to begin."""
        self._response = Response(self, silence_s)
        self.transport.writelines((head, body))
        return self._response

    async def tunnel(self, origin: Origin, context: ssl.SSLContext) -> None:
        """Have the proxy at the other end connect on to ``origin``, and encrypt from here on."""
        response = self.send(origin.tunnel, b"", None)
        try:
            await response.begun()
            if response.status != 200:
                raise ConnectError(f"the proxy answered {response.status}")
            self._response, self._parser = None, httptools.HttpResponseParser(self)
            encrypted = await asyncio.get_running_loop().start_tls(
                self.transport, self, context, server_hostname=origin.name
            )
        except BaseException:
            self.abort()
            raise
        self.transport = cast(asyncio.Transport, encrypted)

    def abort(self) -> None:
        self.transport.abort()

    def pause(self) -> None:
        self.transport.pause_reading()

    def resume(self) -> None:
        if self.usable:
            self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        response, self._response = self._response, None
        if response is not None:
            response.cut(exc)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, zlib.error) as error:
            # Among others what nobody has asked for.
            response, self._response = self._response, None
            if response is not None:
                response.lose(f"the server does not speak HTTP/1.1: {error}")
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._response is not None, "an answer without a request"
        self._response.header(name, value)

    def on_headers_complete(self) -> None:
        assert self._response is not None, "an answer without a request"
        self._response.begin(self._parser.get_status_code())

    def on_body(self, data: bytes) -> None:
        assert self._response is not None, "an answer without a request"
        self._response.take(data)

    def on_message_complete(self) -> None:
        response = self._response
        assert response is not None, "an answer without a request"
        if response.status == 0:
            # An interim one (1xx): the answer is still to come.
            return
        self._response = None
        response.end()
        if self._parser.should_keep_alive():
            self.since = asyncio.get_running_loop().time()
            self._idle.append(self)
        else:
            self.transport.close()


class Response:
    """An answer as it comes."""

    def __init__(self, connection: _Connection, silence_s: float | None) -> None:
        self.status = 0
        """0 until its head has come."""
        self.headers: dict[str, str] = {}
        """By names in lower case."""
        self._connection = connection
        self._silence_s = silence_s
        self._pieces: list[bytes] = []
        self._waiting = 0
        """Bytes of the pieces."""
        self._paused = False
        self._ended = False
        self._error: OSError | None = None
        self._news: asyncio.Future[None] | None = None
        self._inflate: zlib._Decompress | None = None

    async def read(self) -> bytes:
        """All of the body, or what is left of it."""
        pieces = [piece async for piece in self.pieces()]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, in pieces as they come."""
        while True:
            if self._pieces:
                came, self._pieces, self._waiting = self._pieces, [], 0
                if self._paused:
                    self._paused = False
                    self._connection.resume()
                yield came[0] if len(came) == 1 else b"".join(came)
            elif self._error is not None:
                raise self._error
            elif self._ended:
                return
            else:
                await self._wait()

    def close(self) -> None:
        """Let go of it. What has not come of it ends the connection, and the server's work."""
        if not self._ended:
            self._ended = True
            self._connection.abort()

    async def begun(self) -> None:
        """Return once the head has come."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._news = loop.create_future()
        timer = None
        if self._silence_s is not None:
            timer = loop.call_later(self._silence_s, self._fall_silent)
        try:
            await self._news
        finally:
            self._news = None
            if timer is not None:
                timer.cancel()

    def _fall_silent(self) -> None:
        self._fail(TimeoutError(f"nothing came for {self._silence_s:g} s"))
        self._connection.abort()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # What the connection says.

    def header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def begin(self, status: int) -> None:
        if status < 200:
            self.headers.clear()
            return
        self.status = status
        if self.headers.get("content-encoding", "").lower() in _COMPRESSED:
            # Not what it was asked for.
            self._inflate = zlib.decompressobj(_ZLIB_OR_GZIP)
        self._tell()

    def take(self, data: bytes) -> None:
        if self._inflate is not None:
            data = self._inflate.decompress(data)
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting > _MOST_WAITING and not self._paused:
            self._paused = True
            self._connection.pause()
        self._tell()

    def end(self) -> None:
        self._ended = True
        if self._paused:
            self._paused = False
            self._connection.resume()
        self._tell()

    def lose(self, why: str) -> None:
        self._fail(CutError(why) if self.status else LostError(why))

    def cut(self, error: Exception | None) -> None:
        """The connection is gone. Of an answer without a length that is the end."""
        measured = "content-length" in self.headers or "transfer-encoding" in self.headers
        if self.status and not measured and error is None:
            self.end()
        else:
            self.lose(str(error) if error else "the server closed it")

    def _fail(self, error: OSError) -> None:
        if not self._ended and self._error is None:
            self._error = error
            self._tell()


def _line(name: str, value: str) -> bytes:
    if "\r" in value or "\n" in value:
        raise ValueError(f"a line break in the header {name}")
    return f"{name}: {value}\r\n".encode("utf-8", "surrogateescape")
