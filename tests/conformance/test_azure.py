"""OpenAI's clients for Azure, which have paths and a header of their own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.clients import Client
from tests.conformance.samples import STUDENT
from tests.router.conftest import TEACHER
from tests.router.taught import SENTENCES, TASK
from tests.router.upstream import StubUpstream, embedding

MESSAGES = [{"role": "user", "content": SENTENCES[0]}]


@pytest.mark.parametrize(
    ("deployment", "model"),
    [("auto", STUDENT), ("student", STUDENT), (STUDENT, STUDENT), ("teacher", TEACHER)],
)
def test_a_deployment_is_a_model(
    azure: Client, upstream: StubUpstream, deployment: str, model: str
) -> None:
    asked: dict[str, Any] = {"model": deployment, "messages": MESSAGES, "metadata": {"task": TASK}}
    whole = azure.call("chat.completions.create", **asked)
    assert (whole["model"], whole["choices"][0]["message"]["content"]) == (model, "cat")
    events = azure.stream("chat.completions.create", **asked)
    said = [each["choices"][0]["delta"].get("content") or "" for each in events if each["choices"]]
    assert ("".join(said), events[0]["model"]) == ("cat", model)


def test_a_deployment_with_a_slash(azure: Client, upstream: StubUpstream) -> None:
    azure.call("chat.completions.create", model="org/model", messages=MESSAGES)
    assert upstream.requests[-1].body["model"] == "org/model"


def test_completions_and_embeddings(azure: Client, upstream: StubUpstream) -> None:
    completed = azure.call("completions.create", model="teacher", prompt="a cat")
    assert completed["choices"][0]["text"] == "cat"
    made = azure.call("embeddings.create", model="vectors", input="a cat")
    assert made["data"][0]["embedding"] == embedding("a cat")


def test_what_has_no_deployment(azure: Client, upstream: StubUpstream) -> None:
    answered = azure.call("responses.create", model="teacher", input="a cat")
    assert answered["output"][0]["content"][0]["text"] == "cat"
    assert "auto" in [model["id"] for model in azure.pages("models.list")]


def test_errors(azure: Client, upstream: StubUpstream) -> None:
    failure = azure.refused("chat.completions.create", model="auto", messages=[])
    assert (failure.kind, failure.status, failure.param) == ("BadRequestError", 400, "messages")
    upstream.status = 429
    failure = azure.refused("chat.completions.create", model="teacher", messages=MESSAGES)
    assert (failure.kind, failure.status) == ("RateLimitError", 429)
    wrong = azure.refused("images.generate", model="auto", prompt="a cat")
    assert (wrong.kind, wrong.code) == ("NotFoundError", "unknown_url")
