"""Virtual keys, as callers come to know them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conformance.clients import Client, Take
from tests.conformance.samples import MESSAGES, QUESTION
from tests.router.server import Server
from tests.router.upstream import StubUpstream

CREATE = "chat.completions.create"
MESSAGE: dict[str, Any] = {"model": "auto", "max_tokens": 64, "messages": MESSAGES}

Grant = Callable[..., dict[str, Any]]


@pytest.fixture
def grant(server: Server, key: str) -> Grant:
    """Makes a key; gives the options of a client that uses it."""

    def create(**grant: Any) -> dict[str, Any]:
        created = httpx.post(
            f"{server.url}/keys", json=grant, headers={"authorization": f"Bearer {key}"}
        )
        return {"api_key": created.raise_for_status().json()["secret"]}

    return create


def test_an_unknown_key(client: Client) -> None:
    options = {"api_key": "sk-protege-guessed"}
    failure = client.refused(CREATE, **QUESTION, options=options)
    assert (failure.kind, failure.status) == ("AuthenticationError", 401)
    assert failure.code == "invalid_api_key"
    assert (failure.request_id or "").startswith("req_")
    for method in ("models.list", "responses.retrieve", "chat.completions.retrieve"):
        path = [] if method == "models.list" else ["x"]
        refused = client.refused(method, *path, options=options)
        assert refused.kind == "AuthenticationError", method


def test_an_unknown_key_of_anthropics_client(claude: Client) -> None:
    failure = claude.refused("messages.create", **MESSAGE, options={"api_key": "guessed"})
    assert (failure.kind, failure.type) == ("AuthenticationError", "authentication_error")


def test_keys_stay_with_the_router(client: Client, upstream: StubUpstream, key: str) -> None:
    client.call(CREATE, **QUESTION)
    client.stream(CREATE, **QUESTION)
    client.call("embeddings.create", model="vectors", input="is it a cat?")
    assert len(upstream.requests) == 3
    assert not [received for received in upstream.requests if key in str(received.headers)]


def test_a_model_that_the_key_may_not_ask(client: Client, grant: Grant) -> None:
    options = grant(models=["vectors"])
    failure = client.refused(CREATE, **QUESTION, options=options)
    assert (failure.kind, failure.param) == ("PermissionDeniedError", "model")
    client.call("embeddings.create", model="vectors", input="x", options=options)


def test_more_requests_than_the_key_may_make(client: Client, grant: Grant) -> None:
    options = grant(requests_per_minute=1)
    client.call(CREATE, **QUESTION, options=options)
    failure = client.refused(CREATE, **QUESTION, options=options)
    assert (failure.kind, failure.code) == ("RateLimitError", "rate_limit_exceeded")
    outcome = client.attempt(
        CREATE, **QUESTION, options=options, stream=True, take=Take(stream=True)
    )
    assert outcome.failure is not None
    assert outcome.failure.kind == "RateLimitError"


def test_more_money_than_the_key_may_spend(client: Client, grant: Grant) -> None:
    options = grant(budget_usd=1e-9)
    client.call(CREATE, **QUESTION, options=options)
    failure = client.refused(CREATE, **QUESTION, options=options)
    assert (failure.kind, failure.code) == ("RateLimitError", "insufficient_quota")


def test_limits_in_anthropics_words(claude: Client, grant: Grant) -> None:
    options = grant(requests_per_minute=1)
    claude.call("messages.create", **MESSAGE, options=options)
    failure = claude.refused("messages.create", **MESSAGE, options=options)
    assert (failure.kind, failure.type) == ("RateLimitError", "rate_limit_error")


def test_what_others_have_stored_is_not_there(client: Client, grant: Grant) -> None:
    mine, theirs = grant(), grant()
    made = client.call(CREATE, **QUESTION, store=True, options=mine)
    assert client.call("chat.completions.retrieve", made["id"], options=mine)["id"] == made["id"]
    failure = client.refused("chat.completions.retrieve", made["id"], options=theirs)
    assert failure.kind == "NotFoundError"
