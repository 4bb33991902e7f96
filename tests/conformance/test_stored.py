"""Stored completions, through every client."""

from __future__ import annotations

from tests.conformance.clients import Client
from tests.conformance.samples import QUESTION

CREATE = "chat.completions.create"


def test_the_life_of_a_stored_completion(client: Client) -> None:
    tag = {"made_by": client.name}
    made = client.call(CREATE, **QUESTION, store=True, metadata=tag)
    stored = client.call("chat.completions.retrieve", made["id"])
    assert stored["choices"][0]["message"]["content"] == "cat"
    assert stored["metadata"] == tag
    assert made["usage"].items() <= stored["usage"].items()

    (message,) = client.pages("chat.completions.messages.list", made["id"])
    assert (message["role"], message["content"]) == ("user", "is it a cat?")

    changed = client.call("chat.completions.update", made["id"], metadata={"made_by": "nobody"})
    assert changed["metadata"] == {"made_by": "nobody"}
    assert client.call("chat.completions.retrieve", made["id"])["metadata"] == changed["metadata"]

    gone = client.call("chat.completions.delete", made["id"])
    assert (gone["id"], gone["deleted"]) == (made["id"], True)
    assert client.refused("chat.completions.retrieve", made["id"]).kind == "NotFoundError"


def test_streams_are_stored_as_well(client: Client) -> None:
    first, *_ = client.stream(CREATE, **QUESTION, store=True)
    stored = client.call("chat.completions.retrieve", first["id"])
    assert stored["choices"][0]["message"]["content"] == "cat"


def test_what_is_not_to_be_stored_is_not(client: Client) -> None:
    made = client.call(CREATE, **QUESTION, store=False)
    assert client.refused("chat.completions.retrieve", made["id"]).kind == "NotFoundError"


def test_lists_are_read_page_by_page(client: Client) -> None:
    tag = {"page_of": client.name}
    made = [client.call(CREATE, **QUESTION, store=True, metadata=tag)["id"] for _ in range(5)]
    listed = client.pages("chat.completions.list", metadata=tag, limit=2)
    assert [item["id"] for item in listed] == made
    newest = client.pages("chat.completions.list", metadata=tag, limit=2, order="desc")
    assert [item["id"] for item in newest] == made[::-1]
