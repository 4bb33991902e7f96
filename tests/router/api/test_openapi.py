"""The OpenAPI document, and the server against it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from router.api.operations import OPERATIONS
from telemetry.keys import Keys, new_secret
from tests.router.conftest import with_another_model
from tests.router.server import Server
from tests.router.upstream import StubUpstream

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def described_server(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    shared_upstream.reset()
    with with_another_model(shared_upstream, tmp_path_factory.mktemp("described")) as server:
        yield server


@pytest.fixture(scope="module")
def secret(described_server: Server) -> str:
    """Of a key that may do everything."""
    secret = new_secret()
    store = described_server.store()
    Keys(store).create(secret, time.time(), name="admin", admin=True)
    store.close()
    return secret.text


@pytest.fixture(scope="module")
def document(described_server: Server) -> dict[str, Any]:
    root = described_server.url.removesuffix("/v1")
    return httpx.get(f"{root}/openapi.json", timeout=60).raise_for_status().json()


@pytest.fixture(scope="module")
def api(document: dict[str, Any]) -> Any:
    """The document as schemathesis reads it."""
    return schemathesis.openapi.from_dict(document)


def test_all_that_is_served_is_described(document: dict[str, Any]) -> None:
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    assert described == set(OPERATIONS)
    assert document["openapi"] == "3.1.0"


def test_schemas_are_schemas_and_every_reference_leads_to_one(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    prefix = "#/components/schemas/"
    references = set(_references(document))
    assert references <= {prefix + name for name in document["components"]["schemas"]}
    assert prefix + "ChatCompletion" in references


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("/v1/chat/completions", "asc"),
        ("/v1/responses/{identifier}/input_items", "desc"),
        ("/v1/files", "desc"),
    ],
)
def test_the_order_of_a_list_that_is_asked_for_without_one(
    document: dict[str, Any], path: str, order: str
) -> None:
    parameters = {each["name"]: each for each in document["paths"][path]["get"]["parameters"]}
    assert parameters["order"]["schema"]["default"] == order


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for item in part:
            yield from _references(item)
    if isinstance(part, dict):
        for name, item in part.items():
            if name == "$ref":
                yield item
            yield from _references(item)


@pytest.mark.parametrize(("method", "path"), sorted(OPERATIONS))
def test_no_request_breaks_the_server_or_its_word(
    described_server: Server, api: Any, secret: str, method: str, path: str
) -> None:
    """Requests that fit the document, and requests that do not."""
    operation = api[path][method]
    fitting = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    others = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(fitting, others))
    def check(case: Case) -> None:
        # A deadline too short for the upstream is rightly answered with 504.
        if case.headers:
            case.headers.pop("x-protege-deadline", None)
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            # Any other name ends in 404 before anything is tried.
            case.body["model"] = "other" if "embeddings" in path else "auto"
        case.call_and_validate(
            base_url=described_server.url.removesuffix("/v1"),
            headers={"authorization": f"Bearer {secret}"},
            checks=CHECKS,
            timeout=20,
        )

    check()
