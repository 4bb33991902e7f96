"""Every way an upstream can fail: what the caller gets, what is on record, how long it takes.

Times are bounded from above by the timeouts and pauses that were set, with seconds to spare for a
busy machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from telemetry.exchange import Exchange
from tests.router import misbehaving as upstreams
from tests.router.misbehaving import Behaviour, MisbehavingUpstream
from tests.router.server import Server, eventually
from tests.router.taught import promote

SILENCE_S = 1.0
WHOLE_S = 2.5
SPARE_S = 6.0

CONFIG = """
teacher:
  model: gpt-5.4
  base_url: "{url}"
  first_token_timeout_s: {silence}
  timeout_s: {whole}
  retries: {retries}
  breaker_failures: {breaker_failures}
  breaker_pause_s: {pause_s}
fallbacks: {fallbacks}
limits: {{in_flight: {in_flight}, body_mb: 0.1}}
policy: {{audit_rate: 0.000001}}
loop: {{enabled: false}}
"""
DEFAULTS: dict[str, Any] = {
    "silence": SILENCE_S,
    "whole": WHOLE_S,
    "retries": 1,
    "breaker_failures": 10**6,
    "pause_s": 2,
    "fallbacks": "[]",
    "in_flight": 1000,
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[MisbehavingUpstream]:
    upstream = MisbehavingUpstream()
    yield upstream
    upstream.stop()


def start(folder: Path, upstream: MisbehavingUpstream, **settings: Any) -> Server:
    """A server with a student for the task ``doubtful`` that is never sure."""
    folder.mkdir(exist_ok=True)
    config = folder / "protege.yaml"
    defaults: dict[str, Any] = {"retries": 1, "breaker_failures": 10**6, "pause_s": 2}
    values = {
        **defaults,
        "in_flight": 1000,
        "fallbacks": "[]",
        "silence": SILENCE_S,
        "whole": WHOLE_S,
        **settings,
    }
    config.write_text(CONFIG.format(url=upstream.url, **values))
    server = Server(folder / "data", "--config", str(config))
    store = server.store()
    promote(store, server.data, "doubtful-1", task="doubtful", threshold=1.01)
    store.close()
    upstream.then()
    # Until the student serves, nobody stands in.
    assert eventually(lambda: reason(server, "doubtful") == "student_unsure")
    return server


@pytest.fixture(scope="module")
def server(
    upstream: MisbehavingUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with start(tmp_path_factory.mktemp("faults"), upstream) as server:
        # Until the student serves, nobody stands in.
        assert eventually(
            lambda: ask(server, "doubtful").headers["x-protege-reason"] != "no_student"
        )
        yield server


@dataclass
class Asked:
    """One request, and what came of it."""

    response: httpx.Response
    text: str
    seconds: float

    @property
    def headers(self) -> httpx.Headers:
        return self.response.headers

    def code(self) -> str:
        """The code of the error that the answer, or the end of the stream, is."""
        if self.response.status_code != 200:
            return json.loads(self.text)["error"]["code"]
        last = self.text.strip().rpartition("\n\n")[2]
        return json.loads(last.removeprefix("data: "))["error"]["code"]


def ask(server: Server, task: str, *, stream: bool = False, **more: Any) -> Asked:
    body = {"model": "auto", "messages": [{"role": "user", "content": "the cat sleeps"}]}
    started = time.monotonic()
    response = httpx.post(
        f"{server.url}/chat/completions",
        json={**body, "metadata": {"task": task}, "stream": stream, **more},
        timeout=30,
    )
    return Asked(response, response.text, time.monotonic() - started)


def reason(server: Server, task: str) -> str:
    return ask(server, task).headers["x-protege-reason"]


def on_record(server: Server, asked: Asked) -> Exchange:
    return server.exchange_soon(asked.headers["x-request-id"])


@dataclass(frozen=True)
class Fault:
    """What an upstream does to every call, and what follows if nobody stands in."""

    behaviour: Behaviour
    status: int
    code: str
    attempts: int = 2
    least_s: float = 0.0
    most_s: float = 1.0


BEFORE_THE_FIRST_TOKEN = {
    "resets": Fault(upstreams.reset, 502, "upstream_unreachable"),
    "429": Fault(upstreams.status(429), 429, "stub_code"),
    "429, retry after 1 s": Fault(
        upstreams.status(429, "retry-after: 1"), 429, "stub_code", least_s=1.0, most_s=2.0
    ),
    "429, retry after 0.3 s": Fault(
        upstreams.status(429, "retry-after-ms: 300"), 429, "stub_code", least_s=0.3
    ),
    # Nobody waits so long: the next in the chain is asked at once.
    "429, retry after 60 s": Fault(
        upstreams.status(429, "retry-after: 60"), 429, "stub_code", attempts=1
    ),
    "500": Fault(upstreams.status(500), 500, "stub_code"),
    "503, do not retry": Fault(
        upstreams.status(503, "x-should-retry: false"), 503, "stub_code", attempts=1
    ),
    "malformed": Fault(upstreams.say(b'{"choices": [{"mess'), 502, "upstream_broken"),
    "not a completion": Fault(upstreams.say(b"data: []\n\n"), 502, "upstream_broken"),
    "empty": Fault(upstreams.say(b""), 502, "upstream_broken"),
}
ONLY_ONCE = {
    "hangs": (upstreams.hang, {False: WHOLE_S, True: SILENCE_S}),
    "drips too slowly": (upstreams.drip(1.5), {False: WHOLE_S, True: SILENCE_S}),
}
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@STREAMS
@pytest.mark.parametrize("name", BEFORE_THE_FIRST_TOKEN)
def test_before_the_first_token(
    server: Server, upstream: MisbehavingUpstream, name: str, stream: bool
) -> None:
    fault = BEFORE_THE_FIRST_TOKEN[name]
    upstream.then(*[fault.behaviour] * 2)
    asked = ask(server, "alone", stream=stream)
    assert (asked.response.status_code, asked.code()) == (fault.status, fault.code)
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["x-protege-route"] == "teacher"
    assert fault.least_s <= asked.seconds <= fault.most_s + SPARE_S
    exchange = on_record(server, asked)
    assert exchange.status == fault.status
    assert exchange.error == (fault.code if fault.code != "stub_code" else "upstream_error")
    assert (exchange.answer, exchange.finish_reason, exchange.cost) == (None, None, 0)
    assert exchange.attempts == len(upstream.requests) == fault.attempts


@STREAMS
@pytest.mark.parametrize("name", BEFORE_THE_FIRST_TOKEN)
def test_a_retry_may_help(
    server: Server, upstream: MisbehavingUpstream, name: str, stream: bool
) -> None:
    fault = BEFORE_THE_FIRST_TOKEN[name]
    upstream.then(fault.behaviour)
    asked = ask(server, "alone", stream=stream)
    if fault.attempts == 1:
        assert asked.code() == fault.code
        return
    assert asked.response.status_code == 200
    assert asked.text.endswith("[DONE]\n\n") == stream
    assert fault.least_s <= asked.seconds
    exchange = on_record(server, asked)
    assert (exchange.teacher_answer, exchange.attempts, exchange.error) == ("cat", 2, None)


@STREAMS
@pytest.mark.parametrize("name", [*BEFORE_THE_FIRST_TOKEN, *ONLY_ONCE])
def test_the_student_stands_in(
    server: Server, upstream: MisbehavingUpstream, name: str, stream: bool
) -> None:
    fault = BEFORE_THE_FIRST_TOKEN.get(name)
    behaviour = fault.behaviour if fault else ONLY_ONCE[name][0]
    upstream.then(*[behaviour] * 2)
    asked = ask(server, "doubtful", stream=stream)
    assert asked.response.status_code == 200
    assert asked.headers["x-protege-route"] == "student"
    assert asked.headers["x-protege-reason"] == "teacher_down"
    assert asked.seconds <= WHOLE_S + SPARE_S
    exchange = on_record(server, asked)
    assert (exchange.route, exchange.answer, exchange.teacher_answer) == ("student", "cat", None)
    assert exchange.attempts == len(upstream.requests)


@STREAMS
@pytest.mark.parametrize("name", ONLY_ONCE)
def test_what_took_its_time_is_not_asked_again(
    server: Server, upstream: MisbehavingUpstream, name: str, stream: bool
) -> None:
    behaviour, seconds = ONLY_ONCE[name]
    upstream.then(behaviour, behaviour)
    asked = ask(server, "alone", stream=stream)
    assert (asked.response.status_code, asked.code()) == (504, "upstream_timeout")
    assert seconds[stream] <= asked.seconds <= seconds[stream] + SPARE_S
    exchange = on_record(server, asked)
    assert (exchange.status, exchange.error, exchange.attempts) == (504, "upstream_timeout", 1)
    assert eventually(upstream.hung_up.is_set)


@STREAMS
@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
def test_what_the_request_is_to_blame_for_passes_on_at_once(
    server: Server, upstream: MisbehavingUpstream, status: int, stream: bool
) -> None:
    upstream.then(upstreams.status(status))
    asked = ask(server, "doubtful", stream=stream)
    assert (asked.response.status_code, asked.code()) == (status, "stub_code")
    assert on_record(server, asked).attempts == len(upstream.requests) == 1


MIDWAY = {
    "resets": (upstreams.reset_midway, "upstream_broken", 0.1),
    "hangs": (upstreams.hang_midway, "upstream_timeout", SILENCE_S),
    "never ends": (upstreams.never_end, "upstream_timeout", WHOLE_S),
    "ends early": (upstreams.say(upstreams.FIRST), "upstream_broken", 0.0),
    "ends within an event": (
        upstreams.say(upstreams.FIRST + upstreams.LAST[:40]),
        "upstream_broken",
        0.0,
    ),
    "says nonsense": (upstreams.say(upstreams.FIRST + b"data: {\n\n"), "upstream_broken", 0.0),
    "is done before its end": (
        upstreams.say(upstreams.FIRST + upstreams.DONE),
        "upstream_broken",
        0.0,
    ),
}


@pytest.mark.parametrize("task", ["alone", "doubtful"])
@pytest.mark.parametrize("name", MIDWAY)
def test_a_stream_that_breaks_midway_ends_with_an_error(
    server: Server, upstream: MisbehavingUpstream, name: str, task: str
) -> None:
    behaviour, code, least_s = MIDWAY[name]
    upstream.then(behaviour)
    asked = ask(server, task, stream=True)
    assert asked.response.status_code == 200
    assert asked.text.startswith(upstreams.FIRST.decode())
    assert "[DONE]" not in asked.text
    assert asked.code() == code
    assert least_s <= asked.seconds <= least_s + SPARE_S
    exchange = on_record(server, asked)
    assert exchange.route == "teacher"
    assert (exchange.error, exchange.finish_reason, exchange.attempts) == (code, None, 1)
    assert (exchange.answer or "").startswith("ca")


def test_a_body_that_breaks_midway_is_asked_for_again(
    server: Server, upstream: MisbehavingUpstream
) -> None:
    upstream.then(upstreams.reset_midway)
    asked = ask(server, "alone")
    assert asked.response.status_code == 200
    assert on_record(server, asked).attempts == 2


@STREAMS
def test_a_slow_drip_is_put_together(
    server: Server, upstream: MisbehavingUpstream, stream: bool
) -> None:
    upstream.then(upstreams.drip(0.02))
    asked = ask(server, "alone", stream=stream)
    assert asked.response.status_code == 200
    exchange = on_record(server, asked)
    assert (exchange.teacher_answer, exchange.finish_reason) == ("cat", "stop")


@STREAMS
def test_a_caller_that_hangs_up_ends_the_upstreams_work(
    server: Server, upstream: MisbehavingUpstream, stream: bool
) -> None:
    upstream.then(upstreams.hang)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{server.url}/chat/completions",
            json={
                "model": "auto",
                "messages": [{"role": "user", "content": f"gone {stream}"}],
                "metadata": {"task": f"gone-{stream}"},
                "stream": stream,
            },
            timeout=0.3,
        )
    assert upstream.hung_up.wait(10)
    store = server.store()

    def recorded() -> list[tuple[int, str]]:
        with store.engine.connect() as connection:
            rows = connection.exec_driver_sql(
                "select status, error from exchanges where task = ?", (f"gone-{stream}",)
            )
            return [tuple(row) for row in rows]

    assert eventually(lambda: recorded() == [(499, "caller_gone")])
    store.close()


def test_a_caller_that_hangs_up_midway_ends_the_upstreams_work(
    server: Server, upstream: MisbehavingUpstream
) -> None:
    upstream.then(upstreams.never_end)
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with httpx.stream("POST", f"{server.url}/chat/completions", json=body) as response:
        next(response.iter_lines())
    assert upstream.hung_up.wait(10)
    exchange = on_record(server, Asked(response, "", 0.0))
    assert (exchange.status, exchange.error, exchange.finish_reason) == (200, "caller_gone", None)
    assert (exchange.answer or "").startswith("ca")


# The chain


def test_the_next_model_of_the_chain_answers(upstream: MisbehavingUpstream, tmp_path: Path) -> None:
    second = MisbehavingUpstream()
    fallbacks = json.dumps(
        [
            # Nobody listens there.
            {"model": "refusing", "base_url": "http://127.0.0.1:9/v1", "retries": 0},
            {"model": "gpt-5.4-mini", "base_url": second.url, "retries": 0},
        ]
    )
    with start(tmp_path, upstream, fallbacks=fallbacks) as server:
        for stream in (False, True):
            upstream.then(*[upstreams.status(500)] * 2)
            asked = ask(server, "alone", stream=stream)
            assert asked.response.status_code == 200
            assert asked.headers["x-protege-route"] == "teacher"
            assert asked.headers["x-protege-model"] == "gpt-5.4-mini"
            assert second.requests[-1]["model"] == "gpt-5.4-mini"
            exchange = on_record(server, asked)
            assert (exchange.model, exchange.attempts) == ("gpt-5.4-mini", 4)
            assert exchange.teacher_answer == "cat"
            # Charged as the cheaper model that it is.
            assert 0 < exchange.cost < exchange.teacher_cost
        # The request's own fault is nobody else's to mend.
        upstream.then(upstreams.status(400))
        asked = ask(server, "alone")
        assert asked.response.status_code == 400
        # When nobody in the chain can answer, the student does.
        upstream.then(*[upstreams.status(500)] * 2)
        second.then(upstreams.reset)
        asked = ask(server, "doubtful")
        assert asked.headers["x-protege-reason"] == "teacher_down"
        assert on_record(server, asked).attempts == 4
    second.stop()


def test_an_upstream_that_keeps_failing_is_left_alone_for_a_while(
    upstream: MisbehavingUpstream, tmp_path: Path
) -> None:
    with start(tmp_path, upstream, retries=0, breaker_failures=3) as server:
        upstream.then(*[upstreams.status(500)] * 4)
        assert [ask(server, "alone").response.status_code for _ in range(3)] == [500] * 3
        asked = ask(server, "alone")
        assert (asked.response.status_code, asked.code()) == (503, "upstream_unavailable")
        assert 1 <= int(asked.headers["retry-after"]) <= 2
        assert len(upstream.requests) == 3
        assert on_record(server, asked).attempts == 0
        asked = ask(server, "doubtful")
        assert asked.headers["x-protege-reason"] == "teacher_down"
        # One call may try, in vain: the circuit stays open.
        time.sleep(2)
        assert ask(server, "alone").response.status_code == 500
        assert ask(server, "alone").code() == "upstream_unavailable"
        # The next one finds it well again.
        time.sleep(2)
        assert [ask(server, "alone").response.status_code for _ in range(3)] == [200] * 3


def test_a_model_beside_the_teacher_that_keeps_failing_is_left_alone_by_itself(
    upstream: MisbehavingUpstream, tmp_path: Path
) -> None:
    with start(tmp_path, upstream, retries=0, breaker_failures=2, pause_s=60) as server:
        upstream.then(*[upstreams.status(500)] * 2)
        asked = [ask(server, "alone", model="gpt-broken") for _ in range(3)]
        assert [each.response.status_code for each in asked] == [500, 500, 503]
        assert reason(server, "doubtful") == "student_unsure"
        assert ask(server, "alone", model="gpt-well").response.status_code == 200


def test_a_limited_upstream_is_no_broken_one(upstream: MisbehavingUpstream, tmp_path: Path) -> None:
    with start(tmp_path, upstream, retries=0, breaker_failures=2) as server:
        upstream.then(*[upstreams.status(429)] * 4)
        assert [ask(server, "alone").response.status_code for _ in range(5)] == [429] * 4 + [200]


# What the router turns away itself


def test_back_pressure(upstream: MisbehavingUpstream, tmp_path: Path) -> None:
    with start(tmp_path, upstream, in_flight=2) as server:
        upstream.then(upstreams.hang, upstreams.hang)
        with ThreadPoolExecutor() as threads:
            waiting = [threads.submit(ask, server, "alone", stream=True) for _ in range(2)]
            assert eventually(lambda: len(upstream.requests) == 2)
            refused = ask(server, "alone")
            assert (refused.response.status_code, refused.code()) == (429, "overloaded")
            assert refused.headers["retry-after"] == "1"
            assert refused.headers["x-request-id"]
            assert {one.result().response.status_code for one in waiting} == {504}
        assert ask(server, "alone").response.status_code == 200


def test_a_body_that_is_too_large(server: Server) -> None:
    for size in (150_000, 900_000, 3_000_000):
        asked = ask(server, "alone", messages=[{"role": "user", "content": "x" * size}])
        assert (asked.response.status_code, asked.code()) == (413, "request_too_large")
    asked = ask(server, "alone", messages=[{"role": "user", "content": "x" * 90_000}])
    assert asked.response.status_code == 200
