"""Bodies that nobody should send: what is asked for is answered, or an error says why not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from router.api.operations import OPERATIONS
from telemetry.exchange import Exchange
from telemetry.keys import Keys, new_secret
from tests.router.conftest import with_another_model
from tests.router.server import Server
from tests.router.upstream import StubUpstream

STORED = "chatcmpl-fuzzed"
EXCHANGE = f"req_{'f' * 32}"
RESPONSE = f"resp_{'e' * 32}"

PART = {"type": "text", "text": "a cat"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
PARAMETERS = {"type": "object", "properties": {"a": {"type": "string"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

VALID: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "auto",
        "messages": [
            {"role": "system", "content": "Say what it is."},
            {"role": "user", "content": [PART, IMAGE], "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        "metadata": {"task": "fuzz", "a": "b"},
        "stream": True,
        "stream_options": {"include_usage": True},
        "n": 2,
        "stop": ["a"],
        "logprobs": True,
        "top_logprobs": 3,
        "max_completion_tokens": 9,
        "modalities": ["text"],
        "store": True,
        "seed": 1,
        "user": "u",
    },
    "/v1/responses": {
        "model": "auto",
        "instructions": "Say what it is.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "a cat"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": PARAMETERS, "strict": False}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
        "reasoning": {"effort": "low"},
        "metadata": {"task": "fuzz"},
        "stream": True,
        "store": True,
        "max_output_tokens": 20,
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
    },
    "/v1/messages": {
        "model": "auto",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "Say what it is."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a cat"}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "c", "content": "a"}],
            },
        ],
        "tools": [{"name": "f", "input_schema": PARAMETERS}],
        "tool_choice": {"type": "auto"},
        "stop_sequences": ["x"],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "metadata": {"user_id": "u"},
        "stream": True,
        "temperature": 1,
    },
    "/v1/responses/input_tokens": {
        "model": "auto",
        "instructions": "Say what it is.",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "a cat"}]}],
        "tools": [{"type": "function", "name": "f", "parameters": PARAMETERS}],
    },
    "/v1/messages/count_tokens": {
        "model": "auto",
        "system": "Say what it is.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a cat"}]}],
        "tools": [{"name": "f", "input_schema": PARAMETERS}],
    },
    "/v1/completions": {
        "model": "auto",
        "prompt": "a cat",
        "max_tokens": 9,
        "n": 2,
        "stop": "x",
        "logprobs": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
        "logit_bias": {"1": 1},
        "echo": False,
        "suffix": None,
    },
    "/v1/embeddings": {
        "model": "other",
        "input": ["a cat", "a dog"],
        "encoding_format": "base64",
        "dimensions": 2,
        "store": False,
    },
    "/v1/chat/completions/{identifier}": {"metadata": {"a": "b"}},
    "/v1/responses/{identifier}/cancel": {},
    "/v1/feedback": {"exchange": EXCHANGE, "score": 0.5, "answer": "dog", "comment": "no"},
    "/v1/files": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a cat"}]},
            {"role": "assistant", "content": "cat"},
        ]
    },
    "/v1/fine_tuning/jobs": {
        "model": "auto",
        "training_file": "log",
        "suffix": "s",
        "seed": 1,
        "hyperparameters": {"n_epochs": "auto"},
        "method": {"type": "supervised"},
        "metadata": {"task": "fuzz"},
    },
    "/v1/fine_tuning/jobs/{identifier}/cancel": {},
    "/v1/keys": {
        "name": "k",
        "budget_usd": 1.5,
        "period": "day",
        "requests_per_minute": 5,
        "models": ["auto"],
        "tasks": ["t"],
        "expires_at": 4e9,
        "admin": False,
    },
    "/v1/keys/{identifier}": {"name": "k", "budget_usd": 2, "tasks": None},
    "/v1/keys/{identifier}/rotate": {"grace_s": 60},
}
"""A body that each endpoint takes, to begin with."""


class Target:
    """A server with something to speak of under every path, and a key that may do everything."""

    def __init__(self, server: Server) -> None:
        store = server.store()
        keys = Keys(store)
        secret = new_secret()
        keys.create(secret, time.time(), name="admin", admin=True)
        self._key = keys.create(new_secret(), time.time(), name="fuzzed").id
        response = RESPONSE.replace("resp", "req")
        said = '{"model": "auto", "input": "a cat"}'
        store.write(
            [
                _exchange(EXCHANGE, completion_id=STORED),
                _exchange(response, dialect="responses", original=said),
            ]
        )
        store.close()
        self._root = server.url.removesuffix("/v1")
        headers = {"authorization": f"Bearer {secret.text}"}
        self._http = httpx.Client(headers=headers, timeout=30)

    def send(self, path: str, body: bytes, **headers: str) -> httpx.Response:
        identifier = _IDENTIFIERS.get(path, self._key)
        url = self._root + path.replace("{identifier}", identifier)
        method = "POST" if ("POST", path) in OPERATIONS else "PATCH"
        headers = {"content-type": CONTENT_TYPES[0], **headers}
        if path == "/v1/files" and headers["content-type"] == CONTENT_TYPES[0]:
            # It comes as the file of a form.
            form, part = {"purpose": "fine-tune"}, {"file": ("tickets.jsonl", body)}
            return self._http.post(url, data=form, files=part)
        return self._http.request(method, url, content=body, headers=headers)


_IDENTIFIERS = {
    "/v1/chat/completions/{identifier}": STORED,
    "/v1/responses/{identifier}/cancel": RESPONSE,
}


def _exchange(identifier: str, **more: Any) -> Exchange:
    return Exchange(
        id=identifier,
        created=time.time(),
        task="fuzz",
        route="teacher",
        model="gpt-5.4",
        reason="no_student",
        status=200,
        stream=False,
        sampled=True,
        request='{"model": "auto", "messages": [{"role": "user", "content": "a cat"}]}',
        answer="cat",
        finish_reason="stop",
        **more,
    )


@pytest.fixture(scope="module")
def target(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    shared_upstream.reset()
    with with_another_model(shared_upstream, tmp_path_factory.mktemp("fuzzed")) as server:
        yield Target(server)


def check(path: str, response: httpx.Response) -> None:
    """Fails for anything but an answer, or an error that is the request's own and has its shape."""
    assert response.status_code < 500, response.text
    assert response.headers["x-request-id"].startswith("req_")
    assert "The router failed" not in response.text
    if response.headers["content-type"].startswith("text/event-stream"):
        assert response.status_code == 200
        return
    content = response.json()
    if response.status_code == 200:
        return
    error = content["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    if path.startswith("/v1/messages"):
        assert content["type"] == "error"
    else:
        assert set(error) == {"message", "type", "param", "code"}


# JSON as anybody may write it: with lone surrogates, with numbers that fit nowhere, and NaN.
odd_texts = st.text(max_size=6) | st.sampled_from(
    ["", "\0", "\ud800", "\udfff\ud800", "auto", "a" * 999]
)
odd_numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from([0, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, -0.0])
)
odd_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | odd_numbers | odd_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn, valid: Any) -> Any:
    """``valid`` with something in it gone, new, or other than it should be."""
    if isinstance(valid, dict) and valid:
        name = draw(st.sampled_from(sorted(valid)))
        done = draw(st.sampled_from(["inside", "inside", "gone", "new", "other"]))
        if done == "inside":
            return {**valid, name: draw(mutated(valid[name]))}
        if done == "gone":
            return {key: value for key, value in valid.items() if key != name}
        if done == "new":
            return {**valid, draw(odd_texts): draw(odd_values)}
    if isinstance(valid, list) and valid and draw(st.booleans()):
        index = draw(st.integers(0, len(valid) - 1))
        return [*valid[:index], draw(mutated(valid[index])), *valid[index + 1 :]]
    return draw(odd_values)


@st.composite
def bodies(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    kind = draw(st.sampled_from(["mutated", "mutated", "mutated", "any", "bytes", "cut"]))
    if kind == "bytes":
        return draw(st.binary(max_size=60))
    value = draw(odd_values if kind == "any" else mutated(valid))
    if kind == "mutated":
        value = draw(mutated(value))
    raw = json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return raw[: draw(st.integers(0, len(raw)))] if kind == "cut" else raw


CONTENT_TYPES = (
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
)

DEEP = 20_000


UNWRITABLE = json.loads("[" * 300 + "]" * 300)
"""It can be read, and not be written."""


def test_every_endpoint_with_a_body_is_tried() -> None:
    assert set(VALID) == {path for method, path in OPERATIONS if method in ("POST", "PATCH")}


@pytest.mark.parametrize("path", VALID)
def test_the_beginning_is_valid(target: Target, path: str) -> None:
    response = target.send(path, json.dumps(VALID[path]).encode())
    check(path, response)
    # No response is under way, and nobody is an admin here.
    refused = path.endswith("/cancel") or path.startswith("/v1/keys")
    assert response.status_code == 200 or refused, response.text


@pytest.mark.parametrize("path", VALID)
@pytest.mark.parametrize("name", ["more", "metadata", "tools", "response_format", "messages"])
def test_what_cannot_be_written_is_refused(target: Target, path: str, name: str) -> None:
    value: Any = UNWRITABLE
    if name == "metadata":
        value = {"conversation": UNWRITABLE}
    elif name == "tools":
        value = [{"type": "function", "function": {"name": "f", "parameters": {"a": UNWRITABLE}}}]
    elif name == "response_format":
        value = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": UNWRITABLE}}}
    elif name == "messages":
        value = [{"role": "user", "content": [{"type": "text", "text": "a", "a": UNWRITABLE}]}]
    body = {**VALID[path], "stream": False, name: value}
    check(path, target.send(path, json.dumps(body).encode()))


@pytest.mark.parametrize(
    ("path", "asked", "schema"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}, "function"),
        ("/v1/responses", {"input": "a"}, "parameters"),
        ("/v1/responses/input_tokens", {"input": "a"}, "parameters"),
    ],
)
def test_what_python_cannot_show_is_refused(
    target: Target, path: str, asked: dict[str, Any], schema: str
) -> None:
    # As deep as JSON is read.
    deep = '{"a":' * 1000 + "1" + "}" * 1000
    tool = {"type": "function", "name": "f", schema: "DEEP"}
    body = json.dumps({"model": "auto", "tools": [tool], **asked}).replace('"DEEP"', deep)
    assert target.send(path, body.encode()).status_code == 400


@pytest.mark.parametrize("path", VALID)
def test_any_body_gets_an_answer_or_a_reason(target: Target, path: str) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies(VALID[path]), st.sampled_from(CONTENT_TYPES))
    @example(b"", CONTENT_TYPES[0])
    @example(b"{", CONTENT_TYPES[0])
    @example(b"null", CONTENT_TYPES[0])
    @example(b'{"model": NaN}', CONTENT_TYPES[0])
    @example(b'{"model": "\\ud800"}', CONTENT_TYPES[0])
    @example(b"[" * DEEP + b"]" * DEEP, CONTENT_TYPES[0])
    @example(b'{"a":' * DEEP + b"1" + b"}" * DEEP, CONTENT_TYPES[0])
    @example(b'{"model": ' + b"9" * DEEP + b"}", CONTENT_TYPES[0])
    def try_it(body: bytes, content_type: str) -> None:
        check(path, target.send(path, body, **{"content-type": content_type}))

    try_it()
