"""The client that upstreams are asked with, before servers that answer as they like."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.upstreams.connections import (
    ConnectError,
    Connections,
    LostError,
    Origin,
)

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Head and body of the next request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next(
        (
            int(line.split(":")[1])
            for line in head.splitlines()
            if line.startswith("content-length")
        ),
        0,
    )
    return head, await reader.readexactly(length)


@asynccontextmanager
async def _server(handle: Handle, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The URL of a server that ``handle``s each connection."""

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    scheme = "http" if context is None else "https"
    async with server:
        yield f"{scheme}://127.0.0.1:{port}"


def _answering(*answers: bytes) -> Handle:
    """Gives each request of a connection the next answer."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await _request(reader)
            writer.write(answer)
            await writer.drain()

    return handle


def _ok(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _post(connections: Connections, silence_s: float | None = 5) -> bytes:
    response = await connections.post("/x", {}, b"{}", silence_s)
    try:
        return await response.read()
    finally:
        response.close()


def _to(url: str, proxy: str | None = None, connect_s: float = 5) -> Connections:
    return Connections(Origin.of(url, proxy), connect_s)


async def test_a_connection_is_used_again() -> None:
    connected = 0
    seen = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        while True:
            seen.append(await _request(reader))
            writer.write(_ok(b"%d" % len(seen)))

    async with _server(handle) as url:
        connections = _to(url)
        said = [await _post(connections) for _ in range(3)]
        response = await connections.post("/y?z=1", {"authorization": "Bearer k"}, b"body")
        assert response.status == 200
        connections.close()
    assert said == [b"1", b"2", b"3"]
    assert connected == 1
    head, body = seen[-1]
    host = url.removeprefix("http://")
    assert head.splitlines()[:3] == [
        "post /y?z=1 http/1.1",
        f"host: {host}",
        "authorization: bearer k",
    ]
    assert body == b"body"


async def test_one_that_the_server_closed_is_not() -> None:
    async with _server(_answering(_ok(b"once"))) as url:
        connections = _to(url)
        assert await _post(connections) == b"once"
        # It takes a moment until that is known here.
        await asyncio.sleep(0.2)
        assert await _post(connections) == b"once"
    async with _server(_answering(_ok(b"", "connection: close"), _ok(b"?"))) as url:
        connections = _to(url)
        assert [await _post(connections), await _post(connections)] == [b"", b""]


@pytest.mark.parametrize("at_once", [1, 8])
async def test_as_many_connections_as_answers_under_way(at_once: int) -> None:
    under_way = most = 0
    full = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        while True:
            await _request(reader)
            under_way += 1
            most = max(most, under_way)
            if most == at_once:
                full.set()
            await full.wait()
            under_way -= 1
            writer.write(_ok(b"x"))

    async with _server(handle) as url, asyncio.timeout(10):
        connections = _to(url)
        assert (
            await asyncio.gather(*(_post(connections) for _ in range(at_once))) == [b"x"] * at_once
        )
        connections.close()
    assert most == at_once


_CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        _ok(b"hello world"),
        _CHUNKED + b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n",
        _CHUNKED + b"b;note=x\r\nhello world\r\n0\r\ntrailer: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello world",
        b"HTTP/1.0 200 OK\r\n\r\nhello world",
        b"HTTP/1.1 100 Continue\r\n\r\n" + _ok(b"hello world"),
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + _ok(b"hello world"),
        _ok(gzip.compress(b"hello world"), "content-encoding: gzip"),
    ],
    ids=["length", "chunks", "extensions", "to the end", "1.0", "continue", "hints", "gzip"],
)
@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 120), max_size=6))
def test_an_answer_however_it_arrives(answer: bytes, cuts: list[int]) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        places = [0, *sorted(set(cuts)), len(answer)]
        for start, end in pairwise(places):
            writer.write(answer[start:end])
            await writer.drain()
            await asyncio.sleep(0)

    async def ask() -> bytes:
        async with _server(handle) as url:
            return await _post(_to(url))

    assert asyncio.run(ask()) == b"hello world"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhello world",
        _CHUNKED + b"6\r\nhello \r\n",
        _CHUNKED + b"zz\r\nhello \r\n",
        b"SMTP ready\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        _ok(b"no such thing", "content-encoding: gzip"),
    ],
    ids=["none", "head", "length", "chunks", "no chunk", "not HTTP", "upgrade", "gzip"],
)
async def test_no_whole_answer_is_an_error(answer: bytes) -> None:
    async with _server(_answering(answer)) as url:
        with pytest.raises(LostError):
            await _post(_to(url))


async def test_what_nobody_asked_for_ends_the_connection() -> None:
    async with _server(_answering(_ok(b"a") + _ok(b"b"), _ok(b"c"))) as url:
        connections = _to(url)
        assert await _post(connections) == b"a"
        assert await _post(connections) == b"a"


async def test_silence_is_an_error_and_a_slow_answer_is_not() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(_CHUNKED)
        for _ in range(8):
            await asyncio.sleep(0.1)
            writer.write(b"1\r\nx\r\n")
        await asyncio.sleep(30)

    async with _server(handle) as url:
        response = await _to(url).post("/", {}, b"", 0.5)
        pieces = response.pieces()
        came = b""
        while len(came) < 8:
            came += await anext(pieces)
        with pytest.raises(TimeoutError):
            await anext(pieces)


async def test_who_hangs_up_ends_the_servers_work() -> None:
    gone = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(_CHUNKED + b"1\r\nx\r\n")
        if not await reader.read():
            gone.set()

    async with _server(handle) as url:
        response = await _to(url).post("/", {}, b"")
        response.close()
        await asyncio.wait_for(gone.wait(), 5)
        gone.clear()
        asking = asyncio.create_task(_post(_to(url)))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.wait_for(gone.wait(), 5)


async def test_a_reader_who_is_slow_holds_the_server_back() -> None:
    sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await _request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(bytes(100_000))
            await writer.drain()
            sent += 1

    async with _server(handle) as url:
        connections = _to(url)
        response = await connections.post("/", {}, b"")
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 500
        assert sum([len(piece) async for piece in response.pieces()]) == 100_000_000
        connections.close()


async def test_nobody_to_connect_to() -> None:
    async with _server(_answering()) as url:
        pass
    with pytest.raises(ConnectError):
        await _post(_to(url))
    with pytest.raises(ConnectError):
        await _post(_to("http://no-such-host.invalid"))


@pytest.mark.parametrize("url", ["", "nowhere", "ftp://host", "http://", "http://host:port"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
        Origin.of(url, None)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://example.com", "example.com", 80),
        ("https://example.com:443/v1", "example.com", 443),
        ("https://example.com:80", "example.com:80", 80),
        ("http://[::1]:9", "[::1]:9", 9),
        ("http://bücher.example", "xn--bcher-kva.example", 80),
    ],
)
def test_hosts(url: str, host: str, port: int) -> None:
    origin = Origin.of(url, None)
    assert (origin.host, origin.port) == (host, port)


async def test_no_header_with_a_line_break() -> None:
    async with _server(_answering(_ok(b""))) as url:
        with pytest.raises(ValueError, match="authorization"):
            await _to(url).post("/", {"authorization": "a\r\nb: c"}, b"")


# Encrypted, and through proxies


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of 127.0.0.1's own, with its key."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command.split(), *subject, "-keyout", file, "-out", file.with_suffix(".crt")],
        check=True,
        capture_output=True,
    )
    file.write_bytes(file.read_bytes() + file.with_suffix(".crt").read_bytes())
    return file


def _encrypted(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_encrypted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = _answering(_ok(b"a"), _ok(b"b"))
    async with _server(answers, _encrypted(certificate)) as url:
        with pytest.raises(ConnectError, match="certificate"):
            await _post(_to(url))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        connections = _to(url)
        assert [await _post(connections), await _post(connections)] == [b"a", b"b"]
        connections.close()


async def test_a_proxy_is_asked_for_the_whole_address() -> None:
    seen = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await _request(reader))[0])
        writer.write(_ok(b"a"))

    async with _server(handle) as url:
        proxy = url.replace("//", "//me:s%40crt@")
        connections = _to("http://example.com:8000/v1", proxy)
        assert await _post(connections) == b"a"
        connections.close()
    lines = seen[0].splitlines()
    assert lines[:2] == ["post http://example.com:8000/x http/1.1", "host: example.com:8000"]
    assert "proxy-authorization: basic bwu6c0bjcnq=" in lines


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_through_a_proxy_to_an_encrypted_server(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    asked = []

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(2**16):
            target.write(data)
        target.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await _request(reader)
        asked.append(head.splitlines()[0])
        host, port = head.split()[1].split(":")
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(carry(reader, back), carry(there, writer))

    async def ask() -> list[bytes]:
        answers = _answering(_ok(b"a"), _ok(b"b"))
        async with _server(answers, _encrypted(certificate)) as url, _server(handle) as proxy:
            connections = _to(url, proxy)
            said = [await _post(connections), await _post(connections)]
            connections.close()
            assert asked == [f"connect {url.removeprefix('https://')} http/1.1"]
            return said

    if loop == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        said = uvloop.run(ask())
    else:
        said = asyncio.run(ask())
    assert said == [b"a", b"b"]


async def test_a_proxy_that_refuses() -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    async with _server(_answering(refusal)) as proxy:
        with pytest.raises(ConnectError, match="407"):
            await _post(_to("https://example.com", proxy))
