"""Azure's paths, before the real server."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from tests.router.conftest import TEACHER
from tests.router.server import Server
from tests.router.upstream import StubUpstream

MESSAGES: Any = [{"role": "user", "content": "a cat"}]
VERSION = "2024-10-21"


@pytest.fixture
def root(server: Server) -> str:
    return server.url.removesuffix("/v1")


def post(url: str, **body: Any) -> httpx.Response:
    return httpx.post(url, params={"api-version": VERSION}, json=body)


@pytest.mark.parametrize(
    "path",
    [
        "/openai/deployments/auto/chat/completions",
        "/openai/v1/deployments/auto/chat/completions",
        "/openai//deployments/auto/chat/completions/",
        "/v1/deployments/auto/chat/completions",
    ],
)
def test_a_body_without_a_model_asks_for_the_deployment(
    root: str, server: Server, upstream: StubUpstream, path: str
) -> None:
    for body in ({"messages": MESSAGES}, {"messages": MESSAGES, "model": None}):
        answer = post(root + path, **body)
        assert answer.json()["choices"][0]["message"]["content"] == "cat"
        assert upstream.requests[-1].body == {"messages": MESSAGES, "model": TEACHER}
        assert upstream.requests[-1].query == ""
        exchange = server.exchange(answer.headers["x-request-id"])
        assert (exchange.dialect, exchange.reason) == ("chat", "no_student")
        assert json.loads(exchange.request or "") == {"messages": MESSAGES, "model": "auto"}


def test_so_do_completions_and_embeddings(root: str, upstream: StubUpstream) -> None:
    of_teacher = f"{root}/openai/deployments/teacher"
    completed = post(f"{of_teacher}/completions", prompt="a cat").json()
    assert completed["choices"][0]["text"] == "cat"
    several = post(f"{of_teacher}/completions", prompt=["a cat", "a dog"]).json()
    assert [choice["text"] for choice in several["choices"]] == ["cat", "dog"]
    refused = post(f"{of_teacher}/embeddings", input="a cat").json()["error"]
    assert refused["message"] == (
        "The model 'teacher' gives no embeddings: configure one for them."
    )


def test_the_deployment_goes_before_a_model_in_the_body(root: str, upstream: StubUpstream) -> None:
    url = f"{root}/openai/deployments/auto/chat/completions"
    assert post(url, model="another", messages=MESSAGES).is_success
    assert upstream.requests[-1].body["model"] == TEACHER


@pytest.mark.parametrize("path", ["/openai", "/openai/v1"])
def test_a_client_with_a_base_url(root: str, upstream: StubUpstream, path: str) -> None:
    azure = openai.AzureOpenAI(base_url=root + path, api_key="none", api_version=VERSION)
    said = azure.chat.completions.create(model="auto", messages=MESSAGES)
    assert said.choices[0].message.content == "cat"
    plain = openai.OpenAI(base_url=root + path, api_key="none")
    said = plain.chat.completions.create(model="auto", messages=MESSAGES)
    assert said.choices[0].message.content == "cat"
    kept = azure.chat.completions.retrieve(said.id)
    assert kept.choices[0].message.content == "cat"


def test_a_client_with_a_deployment(root: str, upstream: StubUpstream) -> None:
    azure = openai.AzureOpenAI(
        azure_endpoint=root, azure_deployment="auto", api_key="none", api_version=VERSION
    )
    said = azure.chat.completions.create(model="auto", messages=MESSAGES)
    assert said.choices[0].message.content == "cat"
    assert azure.responses.create(model="auto", input="a cat").output_text == "cat"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"messages'])
def test_what_is_no_object_is_told_so(root: str, body: bytes) -> None:
    answer = httpx.post(f"{root}/openai/deployments/auto/chat/completions", content=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
