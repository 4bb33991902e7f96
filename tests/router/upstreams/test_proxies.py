"""A server whose upstream is behind a proxy, as the environment says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.router.conftest import TEACHER
from tests.router.server import Server, run_cli
from tests.router.upstream import StubUpstream

FAR = "http://upstream.example/v1"
QUIET = {"PROTEGE_LOOP__ENABLED": "false", "PROTEGE_TEACHER__RETRIES": "0", "no_proxy": ""}


def flags(url: str = FAR) -> tuple[str, ...]:
    return ("--teacher", TEACHER, "--teacher-base-url", url)


def ask(server: Server) -> str | None:
    completions = server.client().chat.completions
    answer = completions.create(model=TEACHER, messages=[{"role": "user", "content": "a cat?"}])
    return answer.choices[0].message.content


@pytest.mark.parametrize(
    ("variable", "scheme"),
    [("http_proxy", ""), ("all_proxy", "http://"), ("ALL_PROXY", "")],
)
def test_it_is_found_as_by_others(
    tmp_path: Path, upstream: StubUpstream, variable: str, scheme: str
) -> None:
    proxy = f"{scheme}127.0.0.1:{upstream.port}"
    with Server(tmp_path, *flags(), **QUIET, **{variable: proxy}) as server:
        assert ask(server) == "cat"
    assert upstream.requests[-1].headers["host"] == "upstream.example"


@pytest.fixture
def refusing() -> Iterator[tuple[int, list[bytes]]]:
    """The port of a proxy that refuses all, and what it is asked for."""
    asked: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(65536).splitlines()[0])
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], asked
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy"])
def test_an_encrypted_upstream_is_asked_for_through_a_tunnel(
    tmp_path: Path, refusing: tuple[int, list[bytes]], variable: str
) -> None:
    port, asked = refusing
    environment = {**QUIET, variable: f"localhost:{port}"}
    with (
        Server(tmp_path, *flags("https://upstream.example/v1"), **environment) as server,
        pytest.raises(openai.APIStatusError, match="the proxy answered 403"),
    ):
        ask(server)
    assert asked == [b"CONNECT upstream.example:443 HTTP/1.1"]


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://me:secret@127.0.0.1:1080", "must be an HTTP proxy (http://HOST:PORT), not one"),
        ("https://127.0.0.1:3128", "must be an HTTP proxy (http://HOST:PORT), not one"),
        ("http://:3128", "names no host"),
        ("127.0.0.1:port", "is no URL"),
    ],
)
def test_one_that_cannot_be_used_is_told_at_the_start(
    tmp_path: Path, proxy: str, said: str
) -> None:
    arguments = ("serve", "--port", "0", "--data", str(tmp_path), "--workers", "2", *flags())
    process = run_cli(*arguments, **QUIET, all_proxy=proxy)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, "")
    assert errors.startswith(f"protege: all_proxy: {said}")
    assert errors.count("\n") == 1
    assert "secret" not in errors


def test_what_does_not_go_through_it_does_not_need_it(
    tmp_path: Path, upstream: StubUpstream
) -> None:
    environment = {**QUIET, "all_proxy": "socks5://127.0.0.1:9", "no_proxy": "127.0.0.1"}
    with Server(tmp_path, *flags(upstream.url), **environment) as server:
        assert ask(server) == "cat"
