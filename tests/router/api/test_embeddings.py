"""``POST /v1/embeddings``, passed on to OpenAI-compatible servers and through litellm."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest
from aiohttp import web
from openai.types import CreateEmbeddingResponse

from telemetry.exchange import PICO
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually
from tests.router.upstream import PROMPT_TOKENS, StubUpstream, embedding


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return server.client()


def post(server: Server, body: Any, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{server.url}/embeddings", json=body, headers=named)


def test_texts(upstream: StubUpstream, client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="other", input=["a cat", "dogs"])
    assert [each.embedding for each in answer.data] == [embedding("a cat"), embedding("dogs")]
    assert answer.usage.prompt_tokens == PROMPT_TOKENS
    CreateEmbeddingResponse.model_validate(answer.model_dump(), strict=True)


@pytest.mark.parametrize("given", ["a cat", "", ["a cat", ""], [1, 2, 3], [[1, 2], [3]]])
def test_what_is_sent_passes_through(
    upstream: StubUpstream, client: openai.OpenAI, given: Any
) -> None:
    client.embeddings.create(
        model="other", input=given, dimensions=2, encoding_format="float", user="u"
    )
    (received,) = upstream.requests
    assert received.body == {
        "model": "gpt-5.4-mini",
        "input": given,
        "dimensions": 2,
        "encoding_format": "float",
        "user": "u",
    }
    assert received.headers["authorization"] == "Bearer other-key"


def test_its_exchange(server: Server, upstream: StubUpstream) -> None:
    body = {"model": "other", "input": "a cat"}
    response = post(server, body, x_protege_task="search")
    exchange = server.exchange(response.headers["x-request-id"])
    assert (exchange.dialect, exchange.route, exchange.task) == ("embeddings", "model", "search")
    assert (exchange.status, exchange.attempts) == (200, 1)
    assert exchange.original == response.request.content.decode()
    assert exchange.request is None
    # gpt-5.4-mini's input price in the table.
    assert exchange.prompt_tokens == PROMPT_TOKENS
    assert exchange.cost == exchange.teacher_cost > 0
    assert float(response.headers["x-protege-cost"]) == exchange.cost / PICO
    assert response.headers["x-protege-route"] == "model"
    assert response.headers["x-protege-task"] == "search"


def test_no_text_is_kept_that_is_not_to_be(server: Server, upstream: StubUpstream) -> None:
    response = post(server, {"model": "other", "input": "secret", "store": False})
    exchange = server.exchange(response.headers["x-request-id"])
    assert exchange.original is None
    assert exchange.cost > 0
    assert "store" not in upstream.requests[0].body


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ([], 400, None),
        ({"model": "other"}, 400, "input"),
        ({"input": "a"}, 400, "model"),
        ({"model": 5, "input": "a"}, 400, "model"),
        ({"model": "auto", "input": "a"}, 400, "model"),
        ({"model": "student", "input": "a"}, 400, "model"),
        ({"model": "gpt-5.4", "input": "a"}, 400, "model"),
        ({"model": "nobody", "input": "a"}, 404, "model"),
        ({"model": "other", "input": []}, 400, "input"),
        ({"model": "other", "input": ["a", 5]}, 400, "input"),
        ({"model": "other", "input": [[]]}, 400, "input"),
        ({"model": "other", "input": [True]}, 400, "input"),
        ({"model": "other", "input": [[[1]]]}, 400, "input"),
        ({"model": "other", "input": {"a": 1}}, 400, "input"),
        ({"model": "other", "input": "a", "encoding_format": "hex"}, 400, "encoding_format"),
        ({"model": "other", "input": "a", "encoding_format": []}, 400, "encoding_format"),
        ({"model": "other", "input": "a", "dimensions": 0}, 400, "dimensions"),
        ({"model": "other", "input": "a", "store": "no"}, 400, "store"),
    ],
)
def test_requests_that_make_no_sense(
    server: Server, body: Any, status: int, param: str | None
) -> None:
    response = post(server, body)
    assert response.status_code == status
    assert response.json()["error"]["param"] == param
    assert response.headers["x-request-id"].startswith("req_")


def test_an_upstream_that_refuses(server: Server, upstream: StubUpstream) -> None:
    upstream.status = 429
    upstream.error_headers = {"retry-after": "7"}
    response = post(server, {"model": "other", "input": "a"})
    assert response.status_code == 429
    assert response.headers["retry-after"] == "7"
    exchange = server.exchange(response.headers["x-request-id"])
    assert (exchange.status, exchange.error, exchange.cost) == (429, "upstream_error", 0)


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"data": []}', b'{"data": [5]}', b'{"error": 1}']
)
def test_an_upstream_that_talks_nonsense(
    server: Server, upstream: StubUpstream, content: bytes
) -> None:
    upstream.content = content
    response = post(server, {"model": "other", "input": "a"})
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_broken"


def test_an_upstream_that_is_not_there(server: Server, upstream: StubUpstream) -> None:
    response = post(server, {"model": "gone", "input": "a"})
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_unreachable"


def test_a_deadline(server: Server, upstream: StubUpstream) -> None:
    upstream.delay_s = 5
    response = post(server, {"model": "other", "input": "a"}, x_protege_deadline="0.2")
    assert response.status_code == 504
    assert response.json()["error"]["param"] == "x-protege-deadline"


def test_a_budget(server: Server, upstream: StubUpstream) -> None:
    body = {"model": "other", "input": "word " * 1000}
    assert post(server, body, x_protege_budget="1").status_code == 200
    refused = post(server, body, x_protege_budget="0.0000001")
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "budget_exceeded"
    assert len(upstream.requests) == 1


def test_a_caller_that_hangs_up(server: Server, upstream: StubUpstream) -> None:
    upstream.delay_s = 5
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/embeddings", json={"model": "other", "input": "a"}, timeout=0.3)
    assert eventually(lambda: _hung_up(server))


def _hung_up(server: Server) -> bool:
    metrics = httpx.get(server.url.removesuffix("/v1") + "/metrics").text
    return any('status="499"' in line and 'route="model"' in line for line in metrics.splitlines())


@dataclass
class Gemini:
    """Google's own embeddings API (``models.batchEmbedContents``)."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    content: dict[str, Any] | None = None
    """Replaces the answer."""

    async def embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.content is not None:
            return web.json_response(self.content, status=self.content.get("status", 200))
        texts = [each["content"]["parts"][0]["text"] for each in body["requests"]]
        return web.json_response({"embeddings": [{"values": embedding(text)} for text in texts]})

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its address."""
        loop = asyncio.new_event_loop()
        app = web.Application()
        app.router.add_post("/v1beta/models/gemini-embedding-001:batchEmbedContents", self.embed)
        runner = web.AppRunner(app)
        loop.run_until_complete(runner.setup())
        loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1beta"
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(runner.cleanup())
        loop.close()


@pytest.fixture(scope="module")
def google(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Gemini]]:
    """A server with a model of Google's, and Google."""
    folder = tmp_path_factory.mktemp("google")
    stub = Gemini()
    with stub.serving() as url:
        config = folder / "protege.yaml"
        config.write_text(
            f"""
            models:
              vectors:
                {{model: gemini/gemini-embedding-001, base_url: "{url}", api_key: g, retries: 0}}
            loop: {{enabled: false}}
            """
        )
        flags = (*teacher_flags(shared_upstream), "--config", str(config))
        with Server(folder / "data", *flags) as server:
            yield server, stub


def test_another_providers_embeddings(google: tuple[Server, Gemini]) -> None:
    server, stub = google
    client = server.client()
    # The client asks for base64 by itself, which Google does not know.
    answer = client.embeddings.create(model="vectors", input=["a cat", "dogs"], dimensions=2)
    assert [each.embedding for each in answer.data] == [embedding("a cat"), embedding("dogs")]
    (request,) = [each["requests"] for each in stub.requests]
    assert [each["content"]["parts"] for each in request] == [
        [{"text": "a cat"}],
        [{"text": "dogs"}],
    ]
    assert [each["outputDimensionality"] for each in request] == [2, 2]
    assert stub.headers[0]["x-goog-api-key"] == "g"
    assert "caller-key" not in str(stub.headers)
    floats = client.embeddings.create(model="vectors", input="a cat", encoding_format="float")
    assert floats.data[0].embedding == embedding("a cat")


def test_another_providers_exchange(google: tuple[Server, Gemini]) -> None:
    server, _ = google
    response = post(server, {"model": "vectors", "input": "a cat"})
    exchange = server.exchange(response.headers["x-request-id"])
    assert exchange.model == "gemini/gemini-embedding-001"
    # 0.15 USD per million tokens.
    assert exchange.cost == exchange.prompt_tokens * 150_000 > 0


def test_the_caller_cannot_say_where_to_go(google: tuple[Server, Gemini]) -> None:
    server, stub = google
    body = {"model": "vectors", "input": "a cat", "api_base": "http://127.0.0.1:9", "api_key": "k"}
    assert post(server, body).status_code == 200
    assert stub.headers[-1]["x-goog-api-key"] == "g"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"status": 400, "error": {"code": 400, "message": "No.", "status": "INVALID"}}, 400),
        ({"status": 429, "error": {"code": 429, "message": "Wait.", "status": "BUSY"}}, 429),
        ({"what": "ever"}, 502),
    ],
)
def test_another_providers_errors(
    google: tuple[Server, Gemini], content: dict[str, Any], status: int
) -> None:
    server, stub = google
    stub.content = content
    response = post(server, {"model": "vectors", "input": "a cat"})
    stub.content = None
    assert response.status_code == status
    assert response.json()["error"]["message"]
