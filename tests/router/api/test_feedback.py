"""Feedback: kept on its exchange, counted, and learnt from."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from config.settings import PolicySettings
from distill.data.dataset import build
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from telemetry.exchange import Exchange, TaskState
from tests.distill.synthetic import exchange as exchange_about
from tests.distill.synthetic import stream
from tests.router.server import Server, eventually
from tests.router.taught import SENTENCES, promote
from tests.router.upstream import StubUpstream

_numbers = itertools.count()

# A client for each request would read the system's certificates each time.
_http = httpx.Client()


def give(server: Server, **body: Any) -> httpx.Response:
    return _http.post(f"{server.url}/feedback", json=body)


def metric(server: Server, name: str, verdict: str) -> float:
    """The sum over all tasks."""
    text = _http.get(server.url.removesuffix("/v1") + "/metrics").text
    lines = [line for line in text.splitlines() if line.startswith(name + "{")]
    return sum(float(line.split()[-1]) for line in lines if f'verdict="{verdict}"' in line)


@pytest.fixture
def exchange(server: Server, upstream: StubUpstream) -> Exchange:
    """What a caller has just been answered, stored."""
    answer = server.client().chat.completions.create(
        model="auto", messages=[{"role": "user", "content": f"a cat {next(_numbers)}?"}]
    )
    return server.exchange(answer._request_id or "")


@pytest.mark.parametrize(
    ("said", "score", "answer", "verdict"),
    [
        ({"score": 1}, 1.0, None, "good"),
        ({"score": 0.25}, 0.25, None, "bad"),
        ({"thumb": "up"}, 1.0, None, "good"),
        ({"thumb": "down"}, 0.0, None, "bad"),
        ({"answer": "dog"}, None, "dog", "corrected"),
        ({"answer": "dog", "thumb": "down", "comment": "no"}, 0.0, "dog", "corrected"),
        ({"comment": "hm"}, None, None, "comment"),
    ],
)
def test_what_is_said_is_kept(
    server: Server,
    exchange: Exchange,
    said: dict[str, Any],
    score: float | None,
    answer: str | None,
    verdict: str,
) -> None:
    before = metric(server, "protege_feedback_total", verdict)
    response = give(server, exchange=exchange.id, **said)
    assert response.json() == {
        "object": "protege.feedback",
        "exchange": exchange.id,
        "score": score,
        "answer": answer,
        "comment": said.get("comment"),
    }
    kept = server.exchange(exchange.id)
    assert (kept.score, kept.right_answer, kept.comment) == (score, answer, said.get("comment"))
    assert metric(server, "protege_feedback_total", verdict) == before + 1


@pytest.mark.parametrize(
    ("said", "score", "answer", "taught"),
    [
        ([{"thumb": "down"}, {"answer": "dog"}], None, "dog", "dog"),
        ([{"answer": "dog"}, {"thumb": "down"}], 0.0, None, None),
        ([{"answer": "dog"}, {"thumb": "up"}], 1.0, None, "a cat"),
        ([{"answer": "dog"}, {"thumb": "down"}, {"thumb": "up"}], 1.0, None, "a cat"),
        ([{"thumb": "up"}, {"thumb": "down", "answer": "dog"}], 0.0, "dog", "dog"),
        ([{"thumb": "down", "answer": "dog"}, {"comment": "hm"}], 0.0, "dog", "dog"),
    ],
)
def test_the_last_verdict_counts(
    server: Server,
    said: list[dict[str, str]],
    score: float | None,
    answer: str | None,
    taught: str | None,
) -> None:
    task = f"verdicts-{next(_numbers)}"
    row = exchange_about(0, "a cat?", "a cat", task)
    store = server.store()
    store.write([row])
    for each in said:
        last = give(server, exchange=row.id, **each).json()
    assert (last["score"], last["answer"]) == (score, answer)
    assert [each.lesson for each in store.teacher_answers(task)] == ([taught] if taught else [])
    store.close()


@pytest.mark.parametrize("name", ["req_{}", "resp_{}", "msg_{}", "chatcmpl-req_{}"])
def test_an_exchange_goes_by_many_names(server: Server, exchange: Exchange, name: str) -> None:
    identifier = name.format(exchange.id.removeprefix("req_"))
    assert give(server, exchange=identifier, thumb="up").json()["exchange"] == exchange.id


def test_an_exchange_goes_by_its_completion(server: Server, upstream: StubUpstream) -> None:
    own = f"chatcmpl-{next(_numbers):032x}"
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    upstream.content = json.dumps({"id": own, "choices": [choice], "created": 1}).encode()
    answer = server.client().chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "a?"}]
    )
    assert give(server, exchange=own, thumb="up").json()["exchange"] == answer._request_id


@pytest.fixture
def served_task(server: Server) -> Iterator[str]:
    """A task that a student serves for as long as one test: the server is for many."""
    task = f"judged-{next(_numbers)}"
    store = server.store()
    promote(store, server.data, task, task=task)
    yield task
    assert store.roster.demote(task, task, "taken out of service", time.time())
    store.close()
    assert eventually(lambda: task not in [model.id for model in server.client().models.list()])


def test_a_students_answer_may_be_judged_at_once(
    upstream: StubUpstream, server: Server, served_task: str
) -> None:
    client = server.client()

    def ask() -> Any:
        return client.chat.completions.with_raw_response.create(
            model="auto",
            messages=[{"role": "user", "content": SENTENCES[0]}],
            metadata={"task": served_task},
        )

    while (answer := ask()).headers["x-protege-route"] != "student":
        pass
    identifier = answer.headers["x-request-id"]
    assert give(server, exchange=identifier, thumb="up").json()["exchange"] == identifier


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "exchange"),
        ({"exchange": 5, "score": 1}, "exchange"),
        ({"exchange": "", "score": 1}, "exchange"),
        ({"exchange": "\0", "score": 1}, "exchange"),
        ({"exchange": "e"}, None),
        ({"exchange": "e", "score": None}, None),
        ({"exchange": "e", "score": 1.1}, "score"),
        ({"exchange": "e", "score": -1}, "score"),
        ({"exchange": "e", "score": True}, "score"),
        ({"exchange": "e", "score": "1"}, "score"),
        ({"exchange": "e", "thumb": "sideways"}, "thumb"),
        ({"exchange": "e", "thumb": ["up"]}, "thumb"),
        ({"exchange": "e", "thumb": "up", "score": 1}, "thumb"),
        ({"exchange": "e", "answer": 5}, "answer"),
        ({"exchange": "e", "answer": " "}, "answer"),
        ({"exchange": "e", "comment": []}, "comment"),
        ({"exchange": "e", "scores": 1}, "scores"),
    ],
)
def test_feedback_that_makes_no_sense(
    server: Server, body: dict[str, Any], param: str | None
) -> None:
    response = give(server, **body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("identifier", ["nothing", f"req_{'0' * 32}", f"resp_{'0' * 32}"])
def test_feedback_for_nothing(server: Server, identifier: str) -> None:
    response = give(server, exchange=identifier, score=1)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("body", [{"answer": "dog"}, {"comment": "c"}])
def test_no_text_is_kept_of_what_was_not_to_be(
    server: Server, upstream: StubUpstream, body: dict[str, str]
) -> None:
    answer = server.client().chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "a cat?"}], store=False
    )
    identifier = answer._request_id or ""
    refused = give(server, exchange=identifier, **body)
    assert refused.status_code == 400
    assert give(server, exchange=identifier, score=0.5).status_code == 200
    kept = server.exchange(identifier)
    assert (kept.score, kept.right_answer, kept.comment) == (0.5, None, None)


def test_a_student_learns_the_right_answers(server: Server) -> None:
    """The teacher takes whatever speaks of a login for a bill. People say of one half of those
    what is right, and of the other half that the teacher is wrong."""
    task = "corrected"
    truth = dict(stream(400))
    wrong = [text for text in truth if "login" in text]
    said = {text: "billing" if text in wrong else label for text, label in truth.items()}
    rows = [exchange_about(i, text, answer, task) for i, (text, answer) in enumerate(said.items())]
    ids = {text: row.id for text, row in zip(said, rows, strict=True)}
    store = server.store()
    store.write(rows)
    assert set(learnt(rows, wrong)) == {"billing"}

    for text in wrong[::2]:
        assert give(server, exchange=ids[text], answer="account").status_code == 200
    for text in wrong[1::2]:
        assert give(server, exchange=ids[text], thumb="down").status_code == 200
    lessons = store.teacher_answers(task)
    store.close()
    assert len(lessons) == len(rows) - len(wrong[1::2])
    assert set(learnt(lessons, wrong)) == {"account"}


def learnt(rows: list[Exchange], texts: list[str]) -> list[str]:
    """What a student trained on ``rows`` answers to ``texts``."""
    data = build(rows)
    run = retrain(Challenge("v1", data, TaskState("corrected"), PolicySettings()))
    assert run.ladder is not None, run.verdict
    return [each.answer for each in run.ladder.rungs[0].predict(texts)]
