"""Pages in a browser, of this machine and of others, before a real server that has no keys."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from aiohttp import web
from playwright.sync_api import Browser, sync_playwright

from tests.router.conftest import TEACHER
from tests.router.console.conftest import open_site
from tests.router.server import Server
from tests.router.threaded import Threaded
from tests.router.upstream import StubUpstream

FOREIGN_PAGES = [
    "https://pages.example",
    "http://pages.example:8080",
    "null",
    "",
    "http://localhost.pages.example",
    "http://localhost@pages.example",
    "http://127.0.0.1.pages.example",
    "http://10.0.0.1",
    "http://0.0.0.0:3000",
    "http://[2001:db8::1]",
    "http://[::1",
    "chrome-extension://abcdef",
]
LOCAL_PAGES = [
    "http://localhost:3000",
    "https://localhost",
    "http://LOCALHOST:3000",
    "http://app.localhost:5173",
    "http://127.0.0.1:3000",
    "http://127.1.2.3",
    "http://[::1]:3000",
]
FOREIGN_NAMES = ["evil.example", "evil.example:8080", "", "0.0.0.0:80", "localhost.evil.example"]
LOCAL_NAMES = [
    "localhost",
    "localhost:{port}",
    "127.0.0.1:{port}",
    "[::1]",
    "[::1]:{port}",
    "a.localhost",
]
BLIND = {"content-type": "text/plain"}
"""What a page may say of a body without asking first."""


def asking(text: str) -> bytes:
    return orjson.dumps({"model": TEACHER, "messages": [{"role": "user", "content": text}]})


@pytest.fixture
def root(server: Server) -> str:
    return server.url.removesuffix("/v1")


def refused(answer: httpx.Response) -> str:
    """What the refusal says, in OpenAI's shape."""
    assert answer.status_code == 403
    assert answer.headers["x-request-id"].startswith("req_")
    assert "access-control-allow-origin" not in answer.headers
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "permission_denied")
    assert "protege keys create" in error["message"]
    return str(error["message"])


# Pages


@pytest.mark.parametrize("origin", FOREIGN_PAGES)
def test_what_pages_from_elsewhere_send_blindly_is_refused(
    root: str, upstream: StubUpstream, origin: str
) -> None:
    answer = httpx.post(
        f"{root}/v1/chat/completions", content=asking("a cat"), headers={**BLIND, "origin": origin}
    )
    assert "Pages in a browser" in refused(answer)
    assert upstream.requests == []


@pytest.mark.parametrize("origin", LOCAL_PAGES)
def test_pages_of_this_machine_may_ask_but_not_read(
    root: str, upstream: StubUpstream, origin: str
) -> None:
    answer = httpx.post(
        f"{root}/v1/chat/completions", content=asking("a cat"), headers={**BLIND, "origin": origin}
    )
    assert answer.json()["choices"][0]["message"]["content"] == "cat"
    assert "access-control-allow-origin" not in answer.headers


def test_no_page_changes_anything_from_elsewhere(server: Server, root: str) -> None:
    page = {**BLIND, "origin": "https://pages.example"}
    exchange = httpx.post(f"{root}/v1/chat/completions", content=asking("a cat")).headers[
        "x-request-id"
    ]
    thumb = orjson.dumps({"exchange": exchange, "thumb": "down"})
    for path, content in (
        ("/v1/feedback", thumb),
        ("/v1//feedback/", thumb),
        ("/v1/keys", b'{"name": "theirs", "admin": true}'),
        ("/v1/embeddings", b'{"model": "other", "input": "a cat"}'),
        ("/v1/files", b""),
        ("/console/exchange/feedback", b"form_token=x"),
        ("/console/keys/create", b"form_token=x&name=theirs&admin=yes"),
        ("/metrics", b""),
        ("/nowhere", b""),
    ):
        answer = httpx.post(f"{root}{path}", content=content, headers=page)
        assert "Pages in a browser" in refused(answer), path
    assert server.exchange(exchange).score is None
    local = {**BLIND, "origin": "http://localhost:3000"}
    assert httpx.post(f"{root}/v1/feedback", content=thumb, headers=local).is_success
    assert server.exchange(exchange).score == 0.0


def test_no_page_may_ask_first_what_it_may_send(root: str) -> None:
    for origin in ("https://pages.example", "http://localhost:3000"):
        asks_first = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        answer = httpx.options(f"{root}/v1/chat/completions", headers=asks_first)
        assert "Pages in a browser" in refused(answer)


def test_anthropics_clients_are_told_in_its_shape(root: str) -> None:
    for headers in ({"origin": "https://pages.example"}, {"host": "evil.example"}):
        answer = httpx.post(f"{root}/v1/messages", content=b"{}", headers=headers)
        assert answer.status_code == 403
        said = answer.json()
        assert (said["type"], said["error"]["type"]) == ("error", "permission_error")
        assert "protege keys create" in said["error"]["message"]


def test_refusals_are_counted(root: str) -> None:
    def counted() -> float:
        lines = httpx.get(f"{root}/metrics").text.splitlines()
        found = [each for each in lines if 'code="permission_denied"' in each]
        return sum(float(each.rsplit(" ", 1)[1]) for each in found if "_created" not in each)

    before = counted()
    httpx.get(f"{root}/v1/models", headers={"host": "evil.example"})
    assert counted() == before + 1


# Names


@pytest.mark.parametrize("name", FOREIGN_NAMES)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/chat/completions",
        "/console",
        "/console/exchanges",
        "/console/sign-in",
        "/console/static/console.css",
        "/nowhere",
    ],
)
def test_a_name_that_may_be_anybodys_is_refused(root: str, name: str, path: str) -> None:
    answer = httpx.get(f"{root}{path}", headers={"host": name})
    assert "answers to names of its own machine" in refused(answer)


@pytest.mark.parametrize("name", LOCAL_NAMES)
@pytest.mark.parametrize("path", ["/v1/models", "/console", "/console/exchanges"])
def test_names_of_this_machine(root: str, name: str, path: str) -> None:
    name = name.format(port=httpx.URL(root).port)
    assert httpx.get(f"{root}{path}", headers={"host": name}).is_success


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/metrics/", "/openapi.json"])
def test_probes_may_use_any_name(root: str, path: str) -> None:
    assert httpx.get(f"{root}{path}", headers={"host": "protege.internal:8080"}).is_success


def test_a_request_without_a_name(root: str) -> None:
    url = httpx.URL(root)
    with socket.create_connection((url.host, url.port), timeout=10) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert connection.recv(4096).split(b"\r\n")[0].endswith(b"200 OK")


# A real browser


class Elsewhere(Threaded):
    """A web site whose page is empty."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        async def show(_request: web.Request) -> web.Response:
            return web.Response(text="<title>nothing</title>", content_type="text/html")

        router.add_get("/", show)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    site = Elsewhere().start()
    yield site
    site.stop()


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Debian's Chromium, for which this machine has foreign names too."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("pages are tried out in chromium")
    names = "--host-resolver-rules=MAP *.example 127.0.0.1"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", names])
        yield launched
        launched.close()


def test_a_page_in_a_browser(
    upstream: StubUpstream, tmp_path: Path, elsewhere: Elsewhere, browser: Browser
) -> None:
    blindly = """async ([url, body]) => {
        await fetch(url, {method: "POST", mode: "no-cors", body});
    }"""
    read = """async (url) => (await fetch(url)).status"""
    with open_site(upstream, tmp_path) as server:
        port, page = httpx.URL(server.url).port, browser.new_page()

        def send(site: str) -> list[Any]:
            """What the teacher is asked after a page of ``site`` has sent a question."""
            page.goto(f"http://{site}:{elsewhere.port}/")
            page.evaluate(blindly, [f"{server.url}/chat/completions", asking("a cat").decode()])
            return upstream.requests

        assert send("pages.example") == []
        assert len(send("localhost")) == 1
        # Its name is this machine's now, so that the server is of its own origin.
        shown = page.goto(f"http://rebound.example:{port}/console")
        assert shown is not None
        assert shown.status == 403
        assert page.evaluate(read, "/v1/chat/completions") == 403
        shown = page.goto(f"http://localhost:{port}/console")
        assert shown is not None
        assert shown.status == 200
        assert page.evaluate(read, "/v1/chat/completions") == 200
