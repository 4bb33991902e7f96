"""What a student says is to every client what the teacher would have sent."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from tests.conformance.clients import Client
from tests.conformance.samples import JSON_TASK, STUDENT
from tests.router.server import eventually
from tests.router.taught import TASK
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

TEXT = "the cat sleeps under the bed"
MESSAGES = [{"role": "user", "content": TEXT}]
QUESTION: dict[str, Any] = {
    "model": "auto",
    "messages": MESSAGES,
    "options": {"default_headers": {"x-protege-task": TASK}},
}
CREATE = "chat.completions.create"


class Animal(BaseModel):
    animal: Literal["cat", "dog"]


@pytest.fixture(autouse=True)
def nobody_else(upstream: StubUpstream) -> None:
    """Whatever the student does not answer is an error."""
    upstream.status = 500


def test_a_completion(client: Client) -> None:
    answer = client.call(CREATE, **QUESTION)
    assert answer["object"] == "chat.completion"
    assert answer["model"] == STUDENT
    (choice,) = answer["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("cat", "stop")
    assert answer["usage"]["total_tokens"] == PROMPT_TOKENS + COMPLETION_TOKENS


def test_log_probabilities(client: Client) -> None:
    answer = client.call(CREATE, **QUESTION, logprobs=True, top_logprobs=2)
    (token,) = answer["choices"][0]["logprobs"]["content"]
    assert token["token"] == "cat"
    assert math.exp(token["logprob"]) > 0.5
    assert [each["token"] for each in token["top_logprobs"]] == ["cat", "dog"]


def test_a_stream(client: Client) -> None:
    chunks = client.stream(CREATE, **QUESTION, stream_options={"include_usage": True})
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "cat"
    assert chunks[-1]["usage"]["completion_tokens"] == COMPLETION_TOKENS
    outcome = client.helper("chat.completions.stream", **QUESTION)
    assert outcome.value["choices"][0]["message"]["content"] == "cat"


def test_a_parsed_answer(python_client: Client) -> None:
    options = {"default_headers": {"x-protege-task": JSON_TASK}}
    answer = python_client.call(
        "chat.completions.parse", **{**QUESTION, "options": options}, response_format=Animal
    )
    assert answer["choices"][0]["message"]["parsed"] == {"animal": "cat"}


def test_a_stored_completion(client: Client) -> None:
    made = client.call(CREATE, **QUESTION, store=True)
    assert eventually(
        lambda: client.attempt("chat.completions.retrieve", made["id"]).failure is None
    )
    stored = client.call("chat.completions.retrieve", made["id"])
    assert stored["choices"][0]["message"]["content"] == "cat"


def test_a_response(client: Client) -> None:
    asked = {"model": "auto", "input": TEXT, "options": QUESTION["options"]}
    response = client.call("responses.create", **asked)
    assert response["model"] == STUDENT
    assert response["output"][-1]["content"][0]["text"] == "cat"
    final = client.helper("responses.stream", **asked).value
    assert final["output"][-1]["content"][0]["text"] == "cat"


def test_a_legacy_completion(client: Client) -> None:
    asked = {"model": "auto", "prompt": TEXT, "options": QUESTION["options"]}
    assert client.call("completions.create", **asked)["choices"][0]["text"] == "cat"


def test_a_message(claude: Client) -> None:
    message = claude.call("messages.create", **QUESTION, max_tokens=64)
    assert message["model"] == STUDENT
    assert message["content"][0]["text"] == "cat"
    final = claude.helper("messages.stream", **QUESTION, max_tokens=64).value
    assert final["content"][0]["text"] == "cat"
