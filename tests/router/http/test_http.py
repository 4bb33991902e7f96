"""HTTP as all sorts of clients speak it, before a real server."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.routing import Route

from router.http.paths import meant
from tests.router.conftest import TEACHER, teacher_flags
from tests.router.server import PROTEGE, Server, eventually
from tests.router.upstream import StubUpstream

HOST = "127.0.0.1"
JAVAS = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEAAEAA"}


def asking(text: str) -> bytes:
    body = {"model": TEACHER, "messages": [{"role": "user", "content": text}]}
    return json.dumps(body).encode()


def answer(connection: HTTPConnection, body: bytes, **headers: str) -> str:
    connection.request("POST", "/v1/chat/completions", body, headers)
    response = connection.getresponse()
    content: Any = json.loads(response.read())
    assert response.status == 200, content
    return content["choices"][0]["message"]["content"]


@pytest.fixture
def connection(server: Server) -> HTTPConnection:
    return HTTPConnection(urlsplit(server.url).netloc, timeout=10)


def test_an_offer_of_another_protocol_is_passed_over(
    connection: HTTPConnection, upstream: StubUpstream
) -> None:
    # Twice on one connection: nothing of the first request is left over.
    assert answer(connection, asking("a cat"), **JAVAS) == "cat"
    assert answer(connection, asking("a dog"), **JAVAS) == "dog"


def test_a_body_that_reads_like_an_offer_is_left_alone(
    connection: HTTPConnection, upstream: StubUpstream
) -> None:
    rest = b" \r\nupgrade: h2c \r\n\r\n"
    connection.putrequest("POST", "/v1/chat/completions")
    body = asking("a cat")
    connection.putheader("Content-Length", str(len(body) + len(rest)))
    connection.endheaders()
    connection.send(body)
    connection.send(rest)
    response = connection.getresponse()
    said = json.loads(response.read())["error"]["message"]
    # No JSON, and said to be none for the letters that it has there.
    assert "unexpected content after document" in said


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_a_compressed_body_is_told_what_it_is(
    connection: HTTPConnection, compress: Callable[[bytes], bytes]
) -> None:
    connection.request("POST", "/v1/chat/completions", compress(asking("a cat")))
    response = connection.getresponse()
    assert response.status == 400
    assert "is compressed" in json.loads(response.read())["error"]["message"]


# What does not end

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (HEAD, b"X-Many: " + b"a" * 1000 + b"\r\n"),
        (HEAD + b"X-Long: ", b"a" * 1000),
        (b"GET /", b"a" * 1000),
        (CHUNKED + b"0\r\n", b"X-Last: " + b"a" * 1000 + b"\r\n"),
    ],
)
def test_nobody_can_send_headers_without_end(server: Server, start: bytes, more: bytes) -> None:
    with socket.create_connection((HOST, urlsplit(server.url).port or 0), timeout=10) as caller:
        caller.sendall(start)
        with pytest.raises(ConnectionError):
            caller.sendall(more * 20_000)


def test_headers_that_are_too_long_are_told_so(server: Server) -> None:
    with socket.create_connection((HOST, urlsplit(server.url).port or 0), timeout=10) as caller:
        caller.sendall(HEAD)
        for _each in range(8):
            caller.sendall(b"X-Long: " + b"a" * 8190 + b"\r\n")
            time.sleep(0.01)
        caller.settimeout(5)
        assert caller.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_long_bodies_and_many_requests_on_one_connection_are_no_heads(
    connection: HTTPConnection, upstream: StubUpstream
) -> None:
    for _each in range(3):
        assert answer(connection, asking("a cat" + " " * 200_000), **{"X-Long": "a" * 60_000})


IMPATIENT = "from router import endpoint; endpoint.SILENCE_S = 0.5; " + PROTEGE


def test_callers_that_stop_in_the_middle_of_a_body_keep_nobody_out(
    upstream: StubUpstream, tmp_path: Path
) -> None:
    config = tmp_path / "protege.yaml"
    config.write_text("{limits: {in_flight: 2}, loop: {enabled: false}}")
    flags = (*teacher_flags(upstream), "--config", str(config))
    with Server(tmp_path / "data", *flags, program=IMPATIENT) as server, ExitStack() as open_:
        at = (HOST, urlsplit(server.url).port or 0)
        silent = [open_.enter_context(socket.create_connection(at, timeout=10)) for _ in range(2)]
        for caller in silent:
            caller.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        url = f"{server.url}/chat/completions"
        assert eventually(lambda: httpx.post(url, content=asking("a cat")).status_code == 429)
        for caller in silent:
            answered = caller.recv(10_000)
            assert answered.startswith(b"HTTP/1.1 408 ")
            assert b'"code":"request_timeout"' in answered
        assert httpx.post(url, content=asking("a cat")).status_code == 200


def test_callers_that_drip_a_body_keep_nobody_out(upstream: StubUpstream, tmp_path: Path) -> None:
    config = tmp_path / "protege.yaml"
    config.write_text("{limits: {in_flight: 1}, loop: {enabled: false}}")
    flags = (*teacher_flags(upstream), "--config", str(config))
    with Server(tmp_path / "data", *flags, program=IMPATIENT) as server:
        at = (HOST, urlsplit(server.url).port or 0)
        url = f"{server.url}/chat/completions"
        with socket.create_connection(at, timeout=0.1) as caller:
            caller.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n{")
            assert eventually(lambda: httpx.post(url, content=asking("a cat")).status_code == 429)
            answered = _dripped(caller)
            assert answered.startswith(b"HTTP/1.1 408 ")
            assert b'"code":"request_timeout"' in answered
            assert httpx.post(url, content=asking("a cat")).status_code == 200


def _dripped(caller: socket.socket) -> bytes:
    """What the server says at last to a byte every tenth of a second."""
    for _each in range(50):
        caller.sendall(b" ")
        try:
            return caller.recv(10_000)
        except TimeoutError:
            continue
    return b""


def test_a_body_that_is_slow_but_comes_is_waited_for(
    upstream: StubUpstream, tmp_path: Path
) -> None:
    with Server(tmp_path / "data", *teacher_flags(upstream), program=IMPATIENT) as server:
        at = (HOST, urlsplit(server.url).port or 0)
        body = asking("a cat" + 6000 * " ")
        with socket.create_connection(at, timeout=10) as caller:
            caller.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
            # Three times as long as anybody may say nothing, at some 4 kB a second.
            for start in range(0, len(body), 400):
                caller.sendall(body[start : start + 400])
                time.sleep(0.1)
            assert caller.recv(10_000).startswith(b"HTTP/1.1 200 ")


# Paths


@pytest.fixture
def root(server: Server) -> str:
    return server.url.removesuffix("/v1")


def test_needless_slashes_are_passed_over(root: str, upstream: StubUpstream) -> None:
    for path in ("/v1//chat/completions", "//v1/chat/completions", "/v1/chat/completions/"):
        answer = httpx.post(f"{root}{path}", content=asking("a cat"))
        assert answer.json()["choices"][0]["message"]["content"] == "cat", path
    listed = httpx.get(f"{root}/v1/models/")
    assert listed.json()["object"] == "list"


@pytest.mark.parametrize(
    ("path", "likely"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/responses", "/v1/responses"),
        ("/api/chat/completions?key=x", "/v1/chat/completions"),
    ],
)
def test_a_wrong_base_url_is_told_the_right_path(root: str, path: str, likely: str) -> None:
    answer = httpx.post(f"{root}{path}", content=asking("a cat"))
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "unknown_url"
    assert (
        error["message"] == f"Unknown path: POST {path.partition('?')[0]}. Did you mean {likely}?"
    )


def test_a_client_of_anthropics_is_told_so_too(root: str) -> None:
    answer = httpx.post(f"{root}/v1/v1/messages", headers={"anthropic-version": "2023-06-01"})
    assert answer.json()["error"]["message"].endswith("Did you mean /v1/messages?")


def test_a_path_of_any_length_is_told_to_be_unknown() -> None:
    routes = [Route(f"/v1/{name}", lambda _: None) for name in "abcdefgh"]
    begun = time.process_time()
    assert meant(30_000 * "/x", routes) is None
    assert time.process_time() - begun < 1
    assert meant(30_000 * "/x" + "/a", routes) == "/v1/a"


def test_nothing_is_said_of_paths_that_lead_nowhere(root: str) -> None:
    for path in ("/", "/v1", "/v1/moderations"):
        assert httpx.get(f"{root}{path}").json()["error"]["message"] == f"Unknown path: GET {path}"


@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/readyz", "/metrics"])
def test_head_is_a_get_without_its_body(root: str, path: str) -> None:
    answer = httpx.head(f"{root}{path}")
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["content-type"] == httpx.get(f"{root}{path}").headers["content-type"]
