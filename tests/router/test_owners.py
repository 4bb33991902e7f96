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
    with Server(data, *teacher_flags(shared_upstream)) as server:
        store = server.store()
        keys = Keys(store)

        def client(name: str, **fields: Any) -> openai.OpenAI:
            secret = new_secret()
            keys.create(secret, time.time(), name=name, **fields)
            return server.client(api_key=secret.text, max_retries=9)

        ann, bob, admin = client("ann"), client("bob"), client("admin", admin=True)
        store.close()
        # A new key is known within a second.
        while any(_is_unknown(each) for each in (ann, bob, admin)):
            time.sleep(0.1)
        answer = ann.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": "a cat?"}],
            metadata={"task": "owned"},
        )
        yield People(ann, bob, admin, answer.id, answer._request_id or "")


def _is_unknown(client: openai.OpenAI) -> bool:
    try:
        client.models.list()
    except openai.AuthenticationError:
        return True
    return False


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
