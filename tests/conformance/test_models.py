"""Models, embeddings and legacy completions, through every client."""

from __future__ import annotations

import base64
import struct

from tests.conformance.clients import Client
from tests.router.conftest import TEACHER
from tests.router.upstream import PROMPT_TOKENS, StubUpstream, embedding

TEXTS = ["is it a cat?", "a dog"]


def test_models_are_listed(client: Client) -> None:
    names = [model["id"] for model in client.pages("models.list")]
    assert {"auto", "teacher", "student", TEACHER} <= set(names)


def test_a_model(client: Client) -> None:
    model = client.call("models.retrieve", TEACHER)
    assert (model["id"], model["object"], model["owned_by"]) == (TEACHER, "model", "protege")
    assert isinstance(model["created"], int)


def test_embeddings(client: Client, upstream: StubUpstream) -> None:
    answer = client.call("embeddings.create", model="vectors", input=TEXTS)
    assert [item["embedding"] for item in answer["data"]] == [embedding(text) for text in TEXTS]
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert answer["usage"] == {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}
    one = client.call("embeddings.create", model="vectors", input=TEXTS[0], dimensions=2, user="7")
    assert len(one["data"]) == 1
    sent = upstream.requests[-1].body
    assert sent["model"] == "text-embedding-3-small"
    assert (sent["dimensions"], sent["user"]) == (2, "7")


def test_embeddings_as_they_are_encoded(client: Client) -> None:
    body = {"model": "vectors", "input": TEXTS[0]}
    (floats,) = client.call("embeddings.create", **body, encoding_format="float")["data"]
    assert floats["embedding"] == embedding(TEXTS[0])
    (encoded,) = client.call("embeddings.create", **body, encoding_format="base64")["data"]
    vector = struct.unpack("<2f", base64.b64decode(encoded["embedding"]))
    assert list(vector) == embedding(TEXTS[0])


def test_embeddings_of_tokens(client: Client, upstream: StubUpstream) -> None:
    for tokens, count in (([12, 34], 1), ([[12, 34], [56]], 2)):
        answer = client.call("embeddings.create", model="vectors", input=tokens)
        assert len(answer["data"]) == count
        assert upstream.requests[-1].body["input"] == tokens


def test_what_cannot_be_embedded(client: Client) -> None:
    failure = client.refused("embeddings.create", model="none", input="is it a cat?")
    assert (failure.kind, failure.code) == ("NotFoundError", "model_not_found")
    failure = client.refused("embeddings.create", model="vectors", input=[])
    assert (failure.kind, failure.param) == ("BadRequestError", "input")


def test_legacy_completions(client: Client) -> None:
    answer = client.call("completions.create", model="auto", prompt="is it a cat?", max_tokens=5)
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    (choice,) = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("cat", "stop")
    assert answer["usage"]["prompt_tokens"] == PROMPT_TOKENS


def test_legacy_completions_in_a_stream(client: Client) -> None:
    events = client.stream("completions.create", model="auto", prompt="is it a cat?")
    texts = [choice["text"] for event in events for choice in event["choices"]]
    assert "".join(texts) == "cat"
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
