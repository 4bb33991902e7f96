"""What the server says on standard error: a line a request, and nobody's words or keys."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from telemetry.keys import PREFIX, Keys, new_secret
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually
from tests.router.taught import SENTENCES, TASK, promote
from tests.router.upstream import StubUpstream, label

PROMPT = "canary-prompt cat"
ANSWER = "canary-answer"
SECRET = "canary-secret"
"""Words that no line may have in it: what callers say, what models say, and what keys are."""


class Logged:
    """A server that logs every request and trains, the secret of its one key, and its lines."""

    def __init__(self, server: Server, secret: str) -> None:
        self.server = server
        self.secret = secret

    def post(self, path: str, body: Any, secret: str | None = None) -> httpx.Response:
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        headers = {"authorization": f"Bearer {secret or self.secret}"}
        return httpx.post(f"{self.server.url}{path}", content=content, headers=headers, timeout=30)

    def chat(self, text: str = PROMPT, task: str = "t", **more: Any) -> httpx.Response:
        messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": text}]
        body = {"model": "auto", "messages": messages, "metadata": {"task": task}, **more}
        return self.post("/chat/completions", body)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.server.errors if line.startswith("{")]

    def line(self, response: httpx.Response) -> dict[str, Any]:
        """The one line about a request."""
        identifier = response.headers["x-request-id"]

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines() if line.get("request") == identifier]

        assert eventually(lambda: bool(found()))
        (only,) = found()
        return only


@pytest.fixture(scope="module")
def running(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Logged]:
    data = tmp_path_factory.mktemp("logs")
    store, secret = Store(data), new_secret()
    promote(store, data, "animals-1")
    Keys(store).create(secret, time.time(), name="app", admin=True)
    store.close()
    environment = {
        "PROTEGE_LOG__LEVEL": "info",
        "PROTEGE_LOG__FORMAT": "json",
        "PROTEGE_POLICY__AUDIT_RATE": "1",
        "PROTEGE_LOOP__FIRST": "20",
        "PROTEGE_LOOP__ENCODER": "null",
        "PROTEGE_TEACHER__API_KEY": f"sk-{SECRET}",
        "PROTEGE_TEACHER__RETRIES": "0",
        "PROTEGE_TEACHER__BREAKER_FAILURES": "1000000",
    }
    with Server(data, *teacher_flags(shared_upstream), **environment) as server:
        yield Logged(server, secret.text)


@pytest.fixture
def logged(running: Logged, upstream: StubUpstream) -> Logged:
    upstream.answer = lambda text: f"{ANSWER} {label(text)}"
    return running


def test_a_line_a_request(logged: Logged) -> None:
    line = logged.line(logged.chat())
    assert line.pop("time").endswith("Z")
    assert line.pop("latency_s") > 0
    assert line.pop("request").startswith("req_")
    assert line.pop("key").startswith("key_")
    assert line == {
        "level": "info",
        "message": "request",
        "task": "t",
        "route": "teacher",
        "model": "gpt-5.4",
        "reason": "no_student",
        "status": 200,
        "error": None,
        "prompt_tokens": 40,
        "completion_tokens": 8,
        "cost_usd": pytest.approx(0.00022),
    }
    served = logged.line(logged.chat(task=TASK, text=SENTENCES[0]))
    assert (served["route"], served["model"], served["cost_usd"]) == ("student", "animals-1", 0)
    embedded = logged.post("/embeddings", {"model": "text-embedding-3-small", "input": PROMPT})
    assert logged.line(embedded)["route"] == "model"


def test_a_line_a_failure(logged: Logged, upstream: StubUpstream) -> None:
    upstream.status = 500
    failed = logged.line(logged.chat())
    assert (failed["level"], failed["status"]) == ("warning", 500)
    assert failed["error"] == "upstream_error"
    for response, error in [
        (logged.post("/chat/completions", "{"), "invalid_request_error"),
        (logged.post("/chat/completions", {}, secret="wrong"), "invalid_api_key"),
        (logged.post("/embeddings", {"model": "auto", "input": "x"}), "invalid_request_error"),
    ]:
        refused = logged.line(response)
        assert refused["message"] == "rejected"
        assert (refused["status"], refused["error"]) == (response.status_code, error)


def echoing(status: int) -> dict[str, Any]:
    """An upstream that repeats what it was asked."""
    said = {"message": f"cannot answer {PROMPT} with {ANSWER} for sk-{SECRET}", "type": "x"}
    return {"status": status, "content": json.dumps({"error": said}).encode()}


FAULTS: list[dict[str, Any]] = [
    {},
    *(echoing(status) for status in (400, 401, 500)),
    {"content": f"<html>{PROMPT} {ANSWER}".encode()},
    {"content": json.dumps({"choices": PROMPT, "usage": ANSWER}).encode()},
    {"content": json.dumps({"choices": [{"message": {"content": {ANSWER: 1}}}]}).encode()},
    {"break_after": 3},
    {"error_after": 3},
    {"finish_reason": "content_filter"},
]


def test_no_line_has_a_key_a_prompt_or_an_answer(logged: Logged, upstream: StubUpstream) -> None:
    for fault in FAULTS:
        for name, value in fault.items():
            setattr(upstream, name, value)
        for stream in (False, True):
            logged.chat(stream=stream)
            logged.chat(text=SENTENCES[0], task=TASK, stream=stream)
        user = {"role": "user", "content": PROMPT}
        logged.post("/responses", {"model": "auto", "input": PROMPT})
        logged.post("/messages", {"model": "auto", "max_tokens": 9, "messages": [user]})
        logged.post("/completions", {"model": "auto", "prompt": PROMPT})
        logged.post("/embeddings", {"model": "text-embedding-3-small", "input": PROMPT})
        upstream.reset()
        upstream.answer = lambda text: f"{ANSWER} {label(text)}"
    for body in (
        f'{{"messages": "{PROMPT}',
        f'"{PROMPT}"',
        {"messages": PROMPT},
        {"messages": [{"role": PROMPT, "content": PROMPT}]},
        {"messages": [{"role": "user", "content": PROMPT}], "temperature": PROMPT},
        {"messages": [{"role": "user", "content": PROMPT}], "response_format": {"type": PROMPT}},
        {"model": "student", "messages": [{"role": "user", "content": PROMPT}]},
    ):
        for path in ("/chat/completions", "/responses", "/messages", "/completions"):
            assert logged.post(path, body).status_code >= 400
    for key in (f"sk-protege-{SECRET}", SECRET):
        assert logged.post("/chat/completions", {}, secret=key).status_code == 401
    identifier = logged.chat().headers["x-request-id"]
    for opinion in (
        {"score": 0, "comment": PROMPT, "answer": ANSWER},
        {"score": PROMPT},
        {"comment": {PROMPT: ANSWER}},
    ):
        logged.post("/feedback", {"id": identifier, **opinion})
        logged.post(f"/exchanges/{identifier}/feedback", opinion)
    httpx.get(f"{logged.server.url}/nothing", params={"q": PROMPT})
    logged.post("/files", PROMPT)
    # The trainer too: its students learn the canary's labels.
    for number in range(40):
        logged.chat(text=f"{PROMPT} {number} {SENTENCES[number % len(SENTENCES)]}", task="learnt")
    assert eventually(
        lambda: any(line.get("logger") == "protege.trainer" for line in logged.lines()), 40
    )
    # Audits disagreed, and the student is out of service.
    store = logged.server.store()
    assert eventually(lambda: store.roster.students(TASK)[0].verdict.startswith("demoted"))
    store.close()
    last = logged.line(logged.chat())
    assert last["status"] == 200
    everything = "\n".join(logged.server.errors)
    assert len(logged.lines()) > 100
    for word in ("canary", logged.secret, logged.secret.removeprefix(PREFIX)):
        assert word not in everything


def test_text(upstream: StubUpstream, data: Path) -> None:
    environment = {"PROTEGE_LOG__LEVEL": "info", "PROTEGE_LOOP__ENABLED": "false"}
    with Server(data, *teacher_flags(upstream), **environment) as server:
        messages: Any = [{"role": "user", "content": PROMPT}]
        task = {"task": "a\n\x1b[31mred"}
        server.client().chat.completions.create(model="auto", messages=messages, metadata=task)
    (line,) = (line for line in server.errors if " info request request=req_" in line)
    assert r' task="a\n\u001b[31mred" route=teacher model=gpt-5.4 reason=no_student ' in line
    assert "\x1b" not in "".join(server.errors)
