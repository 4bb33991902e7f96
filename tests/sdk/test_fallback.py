"""What becomes of calls while Protege cannot be reached."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

import protege
from protege import fallback
from tests.router.conftest import TEACHER, teacher_flags
from tests.router.server import Server
from tests.router.upstream import StubUpstream

KEY = "sk-of-the-caller"
QUESTION: dict[str, Any] = {
    "model": "gpt-5.4",
    "messages": [{"role": "user", "content": "is it a cat?"}],
}
SAID: Any = {"role": "user", "content": "is it a cat?"}


@pytest.fixture
def provider(another_upstream: StubUpstream, monkeypatch: pytest.MonkeyPatch) -> StubUpstream:
    """The provider behind Protege, which lets in nobody but the caller."""
    another_upstream.reset()
    another_upstream.key = KEY
    monkeypatch.setenv("PROTEGE_FALLBACK_BASE_URL", another_upstream.url)
    return another_upstream


@pytest.fixture
def nowhere() -> str:
    """The address of a server that is not running."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def client(base_url: str, **options: Any) -> protege.OpenAI:
    return protege.OpenAI(**{"base_url": base_url, "api_key": KEY, "max_retries": 0, **options})


def test_a_killed_server_is_noticed_and_said(
    provider: StubUpstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = {"PROTEGE_LOOP__ENABLED": "false"}
    with Server(tmp_path / "data", *teacher_flags(provider), **alone) as server:
        caller = client(server.url)
        before = caller.chat.completions.create(**QUESTION)
        assert protege.routing(before).route == "teacher"
        server.kill()
        with caplog.at_level(logging.WARNING, "protege"):
            after = caller.chat.completions.create(**QUESTION)
            caller.chat.completions.create(**QUESTION)
    assert after.choices[0].message.content == "cat"
    assert protege.routing(after) == protege.Routing("direct")
    assert protege.routing(after).direct
    assert not protege.routing(before).direct
    (said,) = [record.getMessage() for record in caplog.records if record.name == "protege"]
    assert server.url in said
    assert provider.url in said


def test_a_server_that_takes_no_connections_counts_as_out_of_reach(
    provider: StubUpstream,
) -> None:
    with contextlib.ExitStack() as sockets:
        full = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        # With one connection waiting to be taken, further ones are left without an answer.
        sockets.enter_context(socket.create_connection(full.getsockname()))
        base_url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        caller = client(base_url, timeout=openai.Timeout(5, connect=0.2))
        assert protege.routing(caller.chat.completions.create(**QUESTION)).direct


def test_a_connection_that_is_lost_is_not_failed_open(provider: StubUpstream) -> None:
    router = StubUpstream(break_after=0).start()
    try:
        stream = client(router.url).chat.completions.create(**QUESTION, stream=True)
        with pytest.raises(openai.APIConnectionError):
            list(stream)
    finally:
        router.stop()
    assert not provider.requests


async def test_the_async_client_fails_open_too(provider: StubUpstream, nowhere: str) -> None:
    async with protege.AsyncOpenAI(base_url=nowhere, api_key=KEY) as caller:
        answer = await caller.chat.completions.create(**QUESTION)
        assert protege.routing(answer).direct
        stream = await caller.chat.completions.create(**QUESTION, stream=True)
        assert protege.routing(stream).direct
        assert len([chunk async for chunk in stream]) > 3


def test_there_is_no_feedback_on_what_protege_never_saw(
    provider: StubUpstream, nowhere: str
) -> None:
    caller = client(nowhere)
    answer = caller.chat.completions.create(**QUESTION)
    with pytest.raises(ValueError, match="straight from the provider"):
        caller.feedback(answer, thumb="up")


def test_streams_fail_open(provider: StubUpstream, nowhere: str) -> None:
    stream = client(nowhere).chat.completions.create(**QUESTION, stream=True)
    assert protege.routing(stream).direct
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == "cat"


def test_raw_responses_say_so(provider: StubUpstream, nowhere: str) -> None:
    raw = client(nowhere).chat.completions.with_raw_response.create(**QUESTION)
    assert raw.headers["x-protege-route"] == "direct"
    assert protege.routing(raw.parse()).direct


def test_the_provider_sees_nothing_of_protege(provider: StubUpstream, nowhere: str) -> None:
    caller = client(nowhere).task("triage", bound=0.1)
    metadata = {"task": "triage", "user": "7"}
    caller.chat.completions.create(**QUESTION, metadata=metadata, budget=0.5, seed=1)
    received = provider.requests[-1]
    assert received.body == {**QUESTION, "metadata": {"user": "7"}, "seed": 1}
    assert not [name for name in received.headers if name.startswith("x-protege-")]
    assert received.headers["host"] in provider.url
    caller.chat.completions.create(**QUESTION)
    assert provider.requests[-1].body == QUESTION


def test_the_providers_errors_are_openais(provider: StubUpstream, nowhere: str) -> None:
    provider.status = 429
    with pytest.raises(openai.RateLimitError):
        client(nowhere).chat.completions.create(**QUESTION)


@pytest.mark.parametrize("model", ["auto", "teacher", "student"])
def test_models_of_proteges_become_a_real_one(
    provider: StubUpstream, nowhere: str, model: str
) -> None:
    caller = client(nowhere, fallback_model="gpt-5.4-mini")
    caller.chat.completions.create(**{**QUESTION, "model": model})
    assert provider.requests[-1].body["model"] == "gpt-5.4-mini"
    caller.chat.completions.create(**QUESTION)
    assert provider.requests[-1].body["model"] == "gpt-5.4"


def test_without_a_real_model_the_call_fails(provider: StubUpstream, nowhere: str) -> None:
    with pytest.raises(openai.APIConnectionError):
        client(nowhere).chat.completions.create(**{**QUESTION, "model": "auto"})
    assert not provider.requests


def test_virtual_keys_stay_here(provider: StubUpstream, nowhere: str) -> None:
    virtual = "sk-protege-0123456789abcdef"
    with pytest.raises(openai.APIConnectionError):
        client(nowhere, api_key=virtual).chat.completions.create(**QUESTION)
    assert not provider.requests
    answer = client(nowhere, api_key=virtual, fallback_api_key=KEY).chat.completions.create(
        **QUESTION
    )
    assert protege.routing(answer).direct
    assert virtual not in str(provider.requests[-1].headers)


def test_openai_is_sent_nothing_for_a_key_that_is_not_its_own(
    nowhere: str, monkeypatch: pytest.MonkeyPatch, provider: StubUpstream
) -> None:
    monkeypatch.delenv("PROTEGE_FALLBACK_BASE_URL")
    monkeypatch.setattr(fallback, "OPENAI", provider.url)
    with pytest.raises(openai.APIConnectionError):
        client(nowhere, api_key="no-key-needed").chat.completions.create(**QUESTION)
    assert not provider.requests
    assert protege.routing(client(nowhere).chat.completions.create(**QUESTION)).direct


def test_it_can_be_turned_off(provider: StubUpstream, nowhere: str) -> None:
    with pytest.raises(openai.APIConnectionError):
        client(nowhere, fallback_base_url="").chat.completions.create(**QUESTION)
    assert not provider.requests


def test_errors_that_protege_answers_are_errors(provider: StubUpstream, server: Server) -> None:
    with pytest.raises(openai.NotFoundError):
        client(server.url).chat.completions.create(**{**QUESTION, "model": "none"})
    assert not provider.requests


def test_what_protege_alone_can_answer_is_not_asked_of_others(
    provider: StubUpstream, nowhere: str
) -> None:
    caller = client(nowhere)
    for call in (
        lambda: caller.tasks.list(),
        lambda: caller.feedback("req_1", thumb="up"),
        lambda: caller.chat.completions.list(),
        lambda: caller.responses.create(
            model=TEACHER, input="and a dog?", previous_response_id="resp_1"
        ),
        lambda: caller.responses.create(
            model=TEACHER, input=[SAID, {"type": "item_reference", "id": "msg_1"}]
        ),
        lambda: caller.responses.create(model=TEACHER, input=[SAID, {"id": "msg_1"}]),
    ):
        with pytest.raises(openai.APIConnectionError):
            call()
    assert not provider.requests


def test_a_server_out_of_reach_is_left_alone_for_a_while(
    provider: StubUpstream, nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = client(nowhere)
    caller.chat.completions.create(**QUESTION)
    # What comes in its place need not be a Protege to show whether it is asked.
    restarted = StubUpstream(port=int(nowhere.rpartition(":")[2].removesuffix("/v1"))).start()
    try:
        caller.task("triage").chat.completions.create(**QUESTION)
        assert not restarted.requests
        later = time.monotonic() + fallback.OUTAGE_S
        monkeypatch.setattr(fallback, "time", SimpleNamespace(monotonic=lambda: later))
        caller.chat.completions.create(**QUESTION)
        assert len(restarted.requests) == 1
    finally:
        restarted.stop()


def test_a_client_of_the_callers_own_does_as_well(provider: StubUpstream, nowhere: str) -> None:
    with httpx.Client() as http_client:
        caller = client(nowhere, http_client=http_client)
        assert protege.routing(caller.chat.completions.create(**QUESTION)).direct
