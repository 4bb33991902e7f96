"""Errors reach every client as its own classes; retries and timeouts are the client's."""

from __future__ import annotations

import pytest

from tests.conformance.clients import Client, Take
from tests.conformance.samples import MESSAGES, QUESTION
from tests.router.upstream import StubUpstream

CREATE = "chat.completions.create"


def test_an_unknown_model(client: Client) -> None:
    failure = client.refused(CREATE, model="none", messages=MESSAGES)
    assert (failure.kind, failure.status) == ("NotFoundError", 404)
    assert (failure.code, failure.param) == ("model_not_found", "model")
    assert "'none'" in failure.message
    assert (failure.request_id or "").startswith("req_")


def test_an_unknown_model_of_a_stream(client: Client) -> None:
    outcome = client.attempt(
        CREATE, model="none", messages=MESSAGES, stream=True, take=Take(stream=True)
    )
    assert outcome.failure is not None
    assert outcome.failure.kind == "NotFoundError"


def test_a_wrong_type(client: Client) -> None:
    failure = client.refused(CREATE, **QUESTION, max_tokens="many")
    assert (failure.kind, failure.param) == ("BadRequestError", "max_tokens")
    failure = client.refused(CREATE, model="auto", messages=[])
    assert (failure.kind, failure.param) == ("BadRequestError", "messages")


def test_a_body_that_is_too_large(client: Client) -> None:
    message = {"role": "user", "content": "a cat " * 500_000}
    failure = client.refused(CREATE, model="auto", messages=[message])
    assert (failure.status, failure.code) == (413, "request_too_large")


def test_an_unknown_id(client: Client) -> None:
    for method in ("models.retrieve", "chat.completions.retrieve", "responses.retrieve"):
        assert client.refused(method, "nothing").kind == "NotFoundError", method


def test_an_endpoint_that_is_not_there(client: Client) -> None:
    failure = client.refused("moderations.create", input="is it a cat?")
    assert (failure.kind, failure.code) == ("NotFoundError", "unknown_url")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "BadRequestError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (409, "ConflictError"),
        (422, "UnprocessableEntityError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (503, "InternalServerError"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_upstream_refuses(
    client: Client, upstream: StubUpstream, status: int, kind: str, stream: bool
) -> None:
    upstream.status = status
    outcome = client.attempt(CREATE, **QUESTION, stream=stream, take=Take(stream=stream))
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.status) == (kind, status)
    assert "The stub is out of order." in outcome.failure.message


def test_a_stream_that_breaks(client: Client, upstream: StubUpstream) -> None:
    for fault in ("break_after", "error_after"):
        upstream.reset()
        setattr(upstream, fault, 2)
        outcome = client.attempt(CREATE, **QUESTION, stream=True, take=Take(stream=True))
        assert outcome.failure is not None, fault
        assert outcome.failure.kind == "APIError", fault
        assert outcome.events, fault


def test_a_client_that_will_not_wait(client: Client, upstream: StubUpstream) -> None:
    upstream.delay_s = 1.0
    failure = client.refused(CREATE, **QUESTION, options={"timeout": 0.2})
    assert failure.kind == "APITimeoutError"


def test_a_client_that_tries_again(client: Client, upstream: StubUpstream) -> None:
    upstream.status = 503
    upstream.error_headers = {"retry-after-ms": "1"}
    failure = client.refused(CREATE, **QUESTION, options={"max_retries": 2})
    assert failure.kind == "InternalServerError"
    assert len(upstream.requests) == 3


def test_a_client_that_is_told_not_to(client: Client, upstream: StubUpstream) -> None:
    upstream.status = 503
    upstream.error_headers = {"x-should-retry": "false"}
    client.refused(CREATE, **QUESTION, options={"max_retries": 2})
    assert len(upstream.requests) == 1
