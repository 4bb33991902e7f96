"""HTTP as all sorts of clients speak it, before a real server."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.router.conftest import TEACHER
from tests.router.server import Server
from tests.router.upstream import StubUpstream

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
