"""Whose exchanges a key may see, judge and count: its own, unless it is an admin's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

from telemetry.keys import Keys, new_secret
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import Server
from tests.router.upstream import StubUpstream


@dataclass(frozen=True)
class People:
    """Clients of one server with a key each: what Ann has been answered is in its store."""

    ann: openai.OpenAI
    bob: openai.OpenAI
    admin: openai.OpenAI
    completion: str
    """Id of Ann's completion."""
    exchange: str


@pytest.fixture(scope="module")
def people(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[People]:
    shared_upstream.reset()
    data = tmp_path_factory.mktemp("owners") / "data"
    # Before the server starts: one that has never seen a key lets everybody in.
    store, secrets = Store(data), {}
    for name in ("ann", "bob", "admin"):
        secrets[name] = new_secret()
        Keys(store).create(secrets[name], time.time(), name=name, admin=name == "admin")
    store.close()
    with Server(data, *teacher_flags(shared_upstream)) as server:
        ann, bob, admin = (server.client(api_key=each.text) for each in secrets.values())
        answer = ann.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": "a cat?"}],
            metadata={"task": "owned"},
        )
        yield People(ann, bob, admin, answer.id, answer._request_id or "")


USES: list[Callable[[openai.OpenAI, People], Any]] = [
    lambda client, people: client.chat.completions.retrieve(people.completion),
    lambda client, people: client.chat.completions.list(after=people.completion),
    lambda client, people: client.chat.completions.messages.list(people.completion),
    lambda client, people: client.chat.completions.update(people.completion, metadata={"a": "b"}),
    lambda client, people: _judge(client, people.exchange),
    lambda client, people: _judge(client, people.completion),
    lambda client, people: client.get("/tasks/owned", cast_to=httpx.Response),
    lambda client, people: client.chat.completions.delete(people.completion),
]


def _judge(client: openai.OpenAI, exchange: str) -> Any:
    return client.post("/feedback", body={"exchange": exchange, "score": 1}, cast_to=httpx.Response)


@pytest.mark.parametrize("use", USES)
def test_what_is_anns_does_not_exist_for_bob(
    people: People, use: Callable[[openai.OpenAI, People], Any]
) -> None:
    with pytest.raises(openai.NotFoundError):
        use(people.bob, people)


def test_lists_hold_what_is_the_callers(people: People) -> None:
    for client, found in ((people.ann, 1), (people.bob, 0), (people.admin, 1)):
        assert len(list(client.chat.completions.list())) == found
        tasks: Any = client.get("/tasks", cast_to=object)
        assert [task["id"] for task in tasks["data"]] == ["owned"] * found


@pytest.mark.parametrize("use", USES[:-1])
@pytest.mark.parametrize("who", ["ann", "admin"])
def test_what_is_anns_is_there_for_her_and_an_admin(
    people: People, who: str, use: Callable[[openai.OpenAI, People], Any]
) -> None:
    use(getattr(people, who), people)
