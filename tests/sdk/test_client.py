from __future__ import annotations

from typing import Any

import openai
import pytest

import protege
from tests.router.server import Server
from tests.router.upstream import StubUpstream

QUESTION: dict[str, Any] = {
    "model": "auto",
    "messages": [{"role": "user", "content": "is it a cat?"}],
}


def task_of(client: openai.OpenAI, **more: Any) -> str:
    """The task that the server takes the question to belong to."""
    raw = client.chat.completions.with_raw_response.create(**QUESTION, **more)
    return raw.headers["x-protege-task"]


def test_the_public_names_are_few() -> None:
    assert protege.__all__ == ["AsyncOpenAI", "Feedback", "OpenAI", "Routing", "Task", "routing"]


def test_answers_like_openais_client() -> None:
    answer = protege.OpenAI().chat.completions.create(**QUESTION)
    assert answer.choices[0].message.content == "cat"


def test_a_request_belongs_to_the_clients_task() -> None:
    client = protege.OpenAI()
    assert task_of(client.task("triage")) == "triage"
    assert task_of(client) not in ("", "triage")


def test_streams_belong_to_the_clients_task(server: Server) -> None:
    client = protege.OpenAI().task("streamed")
    chunks = list(client.chat.completions.create(**QUESTION, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "cat"
    assert len(server.store().teacher_answers("streamed")) == 1


def test_copies_keep_class_and_task() -> None:
    copied = protege.OpenAI().task("triage").with_options(timeout=30).copy(max_retries=0)
    assert type(copied) is protege.OpenAI
    assert task_of(copied) == "triage"
    assert task_of(copied.task("other")) == "other"


def test_a_requests_own_task_goes_first() -> None:
    assert task_of(protege.OpenAI().task("triage"), metadata={"task": "mine"}) == "mine"


def test_other_metadata_is_kept(upstream: StubUpstream) -> None:
    assert task_of(protege.OpenAI().task("triage"), metadata={"user": "7"}) == "triage"
    assert upstream.requests[-1].body["metadata"] == {"user": "7"}


async def test_the_async_client_belongs_to_its_task() -> None:
    async with protege.AsyncOpenAI() as client:
        scoped = client.task("triage").with_options(timeout=30)
        assert type(scoped) is protege.AsyncOpenAI
        raw = await scoped.chat.completions.with_raw_response.create(**QUESTION)
        assert raw.headers["x-protege-task"] == "triage"
        raw = await client.chat.completions.with_raw_response.create(**QUESTION)
        assert raw.headers["x-protege-task"] != "triage"


def test_errors_are_openais() -> None:
    with pytest.raises(openai.NotFoundError):
        protege.OpenAI().task("triage").chat.completions.create(**{**QUESTION, "model": "none"})


@pytest.mark.parametrize("client", [protege.OpenAI, protege.AsyncOpenAI])
def test_the_base_url_is_the_arguments_then_the_environments_then_this_machines(
    client: type[protege.OpenAI | protege.AsyncOpenAI],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def base_url(**options: Any) -> str:
        return str(client(**options).base_url).rstrip("/")

    assert base_url(base_url="http://localhost:1/v1") == "http://localhost:1/v1"
    assert base_url() == server.url
    monkeypatch.delenv("PROTEGE_BASE_URL")
    assert base_url() == "http://127.0.0.1:8080/v1"
