"""``GET /v1/tasks``: what becomes of each task's requests."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from router.api.tasks import WINDOW_S
from telemetry.exchange import Exchange
from tests.router.server import Server
from tests.router.taught import promote

DAY_S = 24 * 3600.0


def row(identifier: str, task: str, **more: Any) -> Exchange:
    usual: dict[str, Any] = {
        "id": identifier,
        "created": time.time() - DAY_S,
        "task": task,
        "route": "teacher",
        "model": "gpt-5.4",
        "reason": "no_student",
        "status": 200,
        "stream": False,
        "sampled": True,
    }
    return Exchange(**{**usual, **more})


@pytest.fixture(scope="module")
def used(shared_server: Server) -> Server:
    """A server whose tasks have been used."""
    students = {"route": "student", "student": "s"}
    store = shared_server.store()
    store.write(
        [
            row("u1", "used/a"),
            row("u2", "used/a", **students, agreed=True),
            row("u3", "used/a", **students, agreed=True),
            row("u4", "used/a", **students, agreed=False),
            row("u5", "used/a", created=time.time() - WINDOW_S - DAY_S),
            row("u6", "used/b"),
            row("u7", "used/c", route="model"),
            row("u8", "used/d", created=time.time() - WINDOW_S - DAY_S),
            row("u9", "lines\na/b\n"),
            row("u10", "slashes//a/"),
            row("u11", "slashes/a"),
            *(row(f"v{index}", f"used/e{index}") for index in range(5)),
        ]
    )
    promote(store, shared_server.data, "used-a-1", task="used/a")
    store.close()
    return shared_server


def get(server: Server, path: str) -> httpx.Response:
    return httpx.get(f"{server.url}/tasks{path}")


def test_a_task(used: Server) -> None:
    found = get(used, "/used/a").json()
    created = found["student"].pop("created")
    assert abs(created - time.time()) < 60
    assert found == {
        "id": "used/a",
        "object": "protege.task",
        "requests": 4,
        "student": {"version": "used-a-1"},
        "student_share": 0.75,
        "audits": 3,
        "agreement": 2 / 3,
    }


def test_a_task_without_a_student(used: Server) -> None:
    found = get(used, "/used/b").json()
    assert (found["requests"], found["student"], found["student_share"]) == (1, None, 0.0)
    assert (found["audits"], found["agreement"]) == (0, None)


def test_a_task_with_line_breaks_in_its_name(used: Server) -> None:
    found = get(used, "/lines%0Aa/b%0A").json()
    assert (found["id"], found["requests"]) == ("lines\na/b\n", 1)
    assert get(used, "/lines%0Aa/b").status_code == 404


def test_a_slash_that_is_encoded_is_part_of_a_tasks_name(used: Server) -> None:
    for encoded in ("/slashes%2F%2Fa%2F", "/slashes%2F/a%2F/", "//slashes%2F%2Fa%2f"):
        assert get(used, encoded).json()["id"] == "slashes//a/", encoded
    for needless in ("/slashes/a", "/slashes%2Fa", "/slashes//a/"):
        assert get(used, needless).json()["id"] == "slashes/a", needless


@pytest.mark.parametrize("name", ["used/c", "used/d", "nothing", "%00"])
def test_tasks_that_nobody_uses(used: Server, name: str) -> None:
    response = get(used, f"/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


def test_all_tasks_page_by_page(used: Server) -> None:
    listed: list[dict[str, Any]] = []
    query = "?limit=2&after=used/"
    while True:
        page = get(used, query).json()
        assert page["object"] == "list"
        listed += page["data"]
        if not page["has_more"] or not page["last_id"].startswith("used/"):
            break
        assert len(page["data"]) == 2
        query = f"?limit=2&after={page['last_id']}"
    names = [each["id"] for each in listed if each["id"].startswith("used/")]
    assert names == ["used/a", "used/b", *(f"used/e{index}" for index in range(5))]
    assert listed[0] == get(used, "/used/a").json()


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "after=%00"])
def test_questions_that_make_no_sense(used: Server, query: str) -> None:
    response = get(used, f"?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == query.partition("=")[0]
