"""Nobody's words are in the log, whichever part of the server has them in its hands."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from telemetry.keys import PREFIX, Keys, new_secret
from telemetry.store import Store
from tests.router.api.test_files import jsonl, line
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually
from tests.router.taught import SENTENCES
from tests.router.test_logs import ANSWER, FAULTS, PROMPT, SECRET, Logged
from tests.router.upstream import StubUpstream, label

CONFIG = {
    "log": {"level": "info", "format": "json"},
    "policy": {"audit_rate": 1, "by_slice": "length"},
    "dataset": {"repeats": 1, "private": "mask"},
    "loop": {"first": 30, "encoder": None, "rollout": {"canary": 2}},
}
TAUGHT = 60
WITHIN_S = 60.0


def said(text: str) -> str:
    """What the teacher says: in three ways, by what its task wants to know."""
    if "number" in text:
        found = re.search(r"canary-\d+", text)
        return found[0] if found else "none"
    if "object" in text:
        return json.dumps({"animal": f"canary-{label(text)}", "said": ANSWER})
    return f"{ANSWER} {label(text)}"


@pytest.fixture(scope="module")
def small(another_upstream: StubUpstream) -> StubUpstream:
    """A hosted model that is tried beside the teacher."""
    another_upstream.reset()
    return another_upstream


@pytest.fixture(scope="module")
def logged(
    shared_upstream: StubUpstream, small: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Logged]:
    shared_upstream.reset()
    shared_upstream.answer = said
    folder = tmp_path_factory.mktemp("canaries")
    store, secret = Store(folder / "data"), new_secret()
    Keys(store).create(secret, time.time(), name="app", admin=True)
    store.close()
    hosted: dict[str, Any] = {
        "model": "gpt-5.4-mini",
        "base_url": small.url,
        "api_key": f"sk-{SECRET}",
    }
    hosted |= {"retries": 0, "breaker_failures": 1_000_000}
    config = folder / "protege.yaml"
    config.write_text(json.dumps({**CONFIG, "hosted": {"models": [hosted], "share": 1}}))
    flags = (*teacher_flags(shared_upstream), "--config", str(config))
    environment = {
        "PROTEGE_TEACHER__API_KEY": f"sk-{SECRET}",
        "PROTEGE_TEACHER__RETRIES": "0",
        "PROTEGE_TEACHER__BREAKER_FAILURES": "1000000",
    }
    with Server(folder / "data", *flags, **environment) as server:
        yield Logged(server, secret.text)
    shared_upstream.reset()


@pytest.fixture(autouse=True)
def _silent(logged: Logged) -> Iterator[None]:
    """What was done in a test is not in the log at its end."""
    before = len(logged.server.errors)
    yield
    # What was asked before this is written by then.
    logged.line(logged.chat())
    assert len(logged.server.errors) > before
    everything = "\n".join(logged.server.errors)
    for word in ("canary", logged.secret, logged.secret.removeprefix(PREFIX)):
        assert word not in everything


def test_students_of_every_kind_and_their_training(logged: Logged) -> None:
    """Labels, objects and what is copied from the request, with a promise for each slice."""
    for wants in ("label", "object", "number"):
        for number in range(TAUGHT):
            sentence = SENTENCES[number % len(SENTENCES)]
            text = f"{wants}: {PROMPT} canary-{number} {sentence} {'and on ' * (number % 5)}"
            assert logged.chat(text=text, task=wants).status_code == 200

    store = logged.server.store()
    kinds = ("label", "object", "number")
    assert eventually(lambda: all(store.roster.students(kind) for kind in kinds), WITHIN_S)
    store.close()

    def trained() -> int:
        return sum(one.get("logger") == "protege.trainer" for one in logged.lines())

    # A student is registered first, and told of afterwards.
    assert eventually(lambda: trained() >= len(kinds))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_hosted_model_that_misbehaves(
    logged: Logged, small: StubUpstream, fault: dict[str, Any]
) -> None:
    small.reset()
    small.answer = said
    for name, value in fault.items():
        setattr(small, name, value)
    before = len(small.requests)
    logged.chat(task="tried")
    assert eventually(lambda: len(small.requests) > before)
    user = {"role": "user", "content": PROMPT}
    for stream in (False, True):
        logged.post("/chat/completions", {"model": "gpt-5.4-mini", "messages": [user]})
        logged.post("/responses", {"model": "auto", "input": PROMPT, "stream": stream})
        body = {"model": "auto", "max_tokens": 9, "messages": [user], "stream": stream}
        logged.post("/messages", body)
        logged.post("/completions", {"model": "auto", "prompt": PROMPT, "stream": stream})


@pytest.mark.parametrize("fault", FAULTS)
def test_a_teacher_that_misbehaves_in_every_dialect(
    logged: Logged, shared_upstream: StubUpstream, fault: dict[str, Any]
) -> None:
    for name, value in fault.items():
        setattr(shared_upstream, name, value)
    user = {"role": "user", "content": PROMPT}
    for stream in (False, True):
        logged.post("/responses", {"model": "auto", "input": PROMPT, "stream": stream})
        body = {"model": "auto", "max_tokens": 9, "messages": [user], "stream": stream}
        logged.post("/messages", body)
        logged.post("/completions", {"model": "auto", "prompt": PROMPT, "stream": stream})
    logged.post("/messages/count_tokens", {"model": "auto", "messages": [user]})
    logged.post("/embeddings", {"model": "text-embedding-3-small", "input": PROMPT})
    shared_upstream.reset()
    shared_upstream.answer = said


def test_files_and_jobs(logged: Logged) -> None:
    def uploaded(content: bytes, name: str = "canary.jsonl") -> httpx.Response:
        return httpx.post(
            f"{logged.server.url}/files",
            headers={"authorization": f"Bearer {logged.secret}"},
            data={"purpose": "fine-tune"},
            files={"file": (name, content)},
        )

    for wrong in (PROMPT.encode(), b'{"messages": "canary', jsonl({"messages": PROMPT})):
        assert uploaded(wrong).status_code == 400
    good = uploaded(jsonl(*(line(f"{PROMPT} {n}", f"{ANSWER} {n % 2}") for n in range(40))))
    assert good.status_code == 200, good.text
    job = {"model": "auto", "training_file": good.json()["id"], "metadata": {"task": "filed"}}
    for wrong_job in ({**job, "model": PROMPT}, {**job, "seed": PROMPT}, {**job, "method": PROMPT}):
        assert logged.post("/fine_tuning/jobs", wrong_job).status_code >= 400
    made = logged.post("/fine_tuning/jobs", job)
    assert made.status_code == 200, made.text
    url = f"{logged.server.url}/fine_tuning/jobs/{made.json()['id']}"
    headers = {"authorization": f"Bearer {logged.secret}"}
    over = ("succeeded", "failed", "cancelled")
    assert eventually(lambda: httpx.get(url, headers=headers).json()["status"] in over, WITHIN_S)


def test_stored_completions_feedback_and_headers(logged: Logged) -> None:
    metadata = {"task": "kept", "canary": "canary-value"}
    answer = logged.chat(metadata=metadata)
    completion, exchange = answer.json()["id"], answer.headers["x-request-id"]
    headers = {"authorization": f"Bearer {logged.secret}"}
    url = f"{logged.server.url}/chat/completions"
    for query in ("metadata[canary]=canary-value", "after=canary", "limit=canary"):
        httpx.get(f"{url}?{query}", headers=headers)
    logged.post(f"/chat/completions/{completion}", {"metadata": {"canary": "canary-other"}})
    logged.post(f"/chat/completions/{completion}", {"metadata": PROMPT})
    logged.post("/feedback", {"exchange": exchange, "thumb": "down", "answer": ANSWER})
    logged.post("/feedback", {"exchange": exchange, "thumb": PROMPT})
    logged.post("/feedback", {"exchange": PROMPT, "comment": PROMPT})
    for name in ("deadline", "bound", "budget", "policy"):
        httpx.post(url, headers={**headers, f"x-protege-{name}": SECRET}, json={})
    httpx.delete(f"{url}/{completion}", headers=headers)
    logged.post("/keys", {"name": "fine", "budget_usd": PROMPT})


def test_the_console(logged: Logged) -> None:
    root = logged.server.url.removesuffix("/v1")
    with httpx.Client(base_url=root, headers={"origin": root}) as visitor:

        def send(path: str, page: str, **fields: str) -> httpx.Response:
            shown = visitor.get(page).text
            token = re.search(r'name="form_token" value="(\w+)"', shown)
            assert token, shown
            return visitor.post(path, data={"form_token": token[1], **fields})

        assert send("/console/sign-in", "/console/sign-in", key=SECRET).status_code == 401
        assert send("/console/sign-in", "/console/sign-in", key=logged.secret).status_code == 303
        exchange = logged.chat().headers["x-request-id"]
        for page in (
            "",
            "/exchanges?text=canary-prompt&task=canary",
            f"/exchange?id={exchange}",
            "/task?name=canary",
            "/student?version=canary",
            "/canary",
        ):
            visitor.get(f"/console{page}")
        page = f"/console/exchange?id={exchange}"
        opinion = {"id": exchange, "thumb": "down", "answer": ANSWER, "comment": PROMPT}
        assert send("/console/exchange/feedback", page, **opinion).status_code == 303
        send("/console/exchange/feedback", page, id="canary", thumb="down")
        send("/console/student/promote", page, version="canary", reason=PROMPT)
        send("/console/keys/create", "/console/keys", name="fine", budget_usd="canary")
