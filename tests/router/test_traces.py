"""Traces, as a collector gets them from a real server."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from config.loading import ConfigError, load
from router.models import Models
from telemetry.conventions import provider
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import Server
from tests.router.taught import TASK, promote
from tests.router.threaded import Threaded
from tests.router.upstream import StubUpstream

SECRET = "canary-5501"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PATIENCE_S = 20


class Collector(Threaded):
    """Takes OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.keys: list[str | None] = []

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/traces", self._take)

    async def _take(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("x-collector-key"))
        said = ExportTraceServiceRequest.FromString(await request.read())
        for resource in said.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return web.Response(content_type="application/x-protobuf")

    def trace(self, trace_id: str) -> dict[Span.SpanKind.ValueType, Span]:
        """The request's span and the call's by their kinds, once both are there."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = {span.kind: span for span in self.spans if span.trace_id.hex() == trace_id}
            if len(found) == 2:
                return found
            time.sleep(0.05)
        raise AssertionError(f"no trace {trace_id} came")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    started = Collector().start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def started(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(upstream: StubUpstream, **settings: str) -> Server:
        data = tmp_path_factory.mktemp("traces")
        store = Store(data)
        promote(store, data, "animals-1")
        store.close()
        environment = {
            "PROTEGE_TRACES__ENDPOINT": f"http://127.0.0.1:{collector.port}/v1/traces",
            "PROTEGE_TRACES__HEADERS": '{"x-collector-key": "let-me-in"}',
            "PROTEGE_TEACHER__RETRIES": "0",
            "PROTEGE_LOOP__ENABLED": "false",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            **settings,
        }
        servers.append(Server(data, *teacher_flags(upstream), **environment))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(started: Callable[..., Server], shared_upstream: StubUpstream) -> Server:
    return started(shared_upstream)


def ask(server: Server, task: str, text: str, **more: Any) -> httpx.Response:
    body = {
        "model": "auto",
        "metadata": {"task": task},
        "messages": [{"role": "user", "content": text}],
    }
    headers = more.pop("headers", {})
    return httpx.post(f"{server.url}/chat/completions", json=body | more, headers=headers)


def attributes(span: Span) -> dict[str, Any]:
    """Attributes by name; arrays as the text of their protobuf message."""
    values = {}
    for pair in span.attributes:
        kind = pair.value.WhichOneof("value")
        assert kind is not None
        values[pair.key] = getattr(pair.value, kind)
    return values


def test_a_trace_has_the_exchanges_id_and_tells_how_it_was_decided(
    server: Server, collector: Collector, upstream: StubUpstream
) -> None:
    answer = ask(server, "other", f"the cat sleeps {SECRET}")
    identifier = answer.headers["x-request-id"]
    spans = collector.trace(identifier.removeprefix("req_"))
    request, call = spans[Span.SPAN_KIND_SERVER], spans[Span.SPAN_KIND_CLIENT]
    assert call.parent_span_id == request.span_id
    assert request.start_time_unix_nano <= call.start_time_unix_nano
    assert call.end_time_unix_nano <= request.end_time_unix_nano
    said = attributes(request)
    assert said["protege.exchange.id"] == identifier
    assert (said["protege.route"], said["protege.reason"]) == ("teacher", "no_student")
    assert said["protege.task"] == "other"
    assert said["protege.decision.teacher.cost"] > 0
    exchange = server.exchange(identifier)
    assert said["protege.cost_usd"] == pytest.approx(exchange.cost / 10**12)
    called = attributes(call)
    assert call.name == "chat gpt-5.4"
    assert called["gen_ai.operation.name"] == "chat"
    assert called["gen_ai.provider.name"] == "openai"
    assert called["gen_ai.request.model"] == "gpt-5.4"
    assert called["gen_ai.usage.input_tokens"] == exchange.prompt_tokens
    assert called["gen_ai.response.id"] == exchange.completion_id
    assert "stop" in str(called["gen_ai.response.finish_reasons"])
    assert collector.keys[-1] == "let-me-in"
    assert not any(SECRET in str(span) for span in spans.values())


def test_a_students_answer_is_traced_with_its_confidence(
    server: Server, collector: Collector, upstream: StubUpstream
) -> None:
    answer = ask(server, TASK, "the cat sleeps at home")
    assert answer.headers["x-protege-route"] == "student"
    spans = collector.trace(answer.headers["x-request-id"].removeprefix("req_"))
    said = attributes(spans[Span.SPAN_KIND_SERVER])
    assert said["protege.student"] == "animals-1"
    assert said["protege.student.confidence"] > 0.6
    call = spans[Span.SPAN_KIND_INTERNAL]
    assert call.name == "chat animals-1"
    assert attributes(call)["gen_ai.provider.name"] == "protege"


@pytest.mark.parametrize(
    ("path", "body", "operation"),
    [
        ("completions", {"prompt": "the cat"}, "text_completion"),
        ("responses", {"input": "the cat"}, "chat"),
        ("embeddings", {"model": "text-embedding-3-small", "input": "the cat"}, "embeddings"),
    ],
)
def test_every_dialect_has_its_operation(
    server: Server, collector: Collector, path: str, body: dict[str, Any], operation: str
) -> None:
    answer = httpx.post(f"{server.url}/{path}", json={"model": "teacher", **body})
    assert answer.status_code == 200, answer.text
    spans = collector.trace(answer.headers["x-request-id"].removeprefix("req_"))
    call = spans[Span.SPAN_KIND_CLIENT]
    assert attributes(call)["gen_ai.operation.name"] == operation
    assert call.name.startswith(f"{operation} ")


def test_a_task_that_nobody_has_named_is_its_hash(server: Server, collector: Collector) -> None:
    said = [{"role": "system", "content": f"Answer {SECRET} in French"}]
    said.append({"role": "user", "content": "the cat"})
    body = {"model": "auto", "messages": said}
    answer = httpx.post(f"{server.url}/chat/completions", json=body)
    task = answer.headers["x-protege-task"]
    assert "canary" in task
    spans = collector.trace(answer.headers["x-request-id"].removeprefix("req_"))
    shown = attributes(spans[Span.SPAN_KIND_SERVER])["protege.task"]
    assert re.fullmatch("[0-9a-f]{8}", shown)
    assert task.endswith(shown)
    assert not any("canary" in str(span) for span in spans.values())


def test_providers_have_opentelemetrys_names() -> None:
    teacher = {"model": "gemini/gemini-2.5-flash"}
    fallbacks = [{"model": "claude-haiku-4-5"}, {"model": "m", "base_url": "http://127.0.0.1:9"}]
    models = Models(load(None, {"teacher": teacher, "fallbacks": fallbacks}))
    named = {"gemini/gemini-2.5-flash": "gcp.gemini", "claude-haiku-4-5": "anthropic"}
    for model, name in {**named, "m": "openai", "unheard-of": "openai"}.items():
        assert provider(models.provider(model)) == name


def test_a_callers_trace_goes_on(
    server: Server, collector: Collector, upstream: StubUpstream
) -> None:
    ask(server, "other", "the dog sleeps", headers={"traceparent": CALLER})
    _, trace, parent, _ = CALLER.split("-")
    request = collector.trace(trace)[Span.SPAN_KIND_SERVER]
    assert request.parent_span_id.hex() == parent
    # What is no traceparent is none.
    answer = ask(server, "other", "the dog sleeps", headers={"traceparent": "nonsense"})
    assert collector.trace(answer.headers["x-request-id"].removeprefix("req_"))


def test_streams_and_failures(server: Server, collector: Collector, upstream: StubUpstream) -> None:
    streamed = ask(server, "other", "the dog sleeps", stream=True)
    spans = collector.trace(streamed.headers["x-request-id"].removeprefix("req_"))
    events = spans[Span.SPAN_KIND_CLIENT].events
    assert [event.name for event in events] == ["gen_ai.first_token"]
    upstream.status = 500
    failed = ask(server, "other", "the dog sleeps")
    spans = collector.trace(failed.headers["x-request-id"].removeprefix("req_"))
    for span in spans.values():
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert attributes(span)["error.type"]
    upstream.status = 400
    refused = ask(server, "other", "the dog sleeps")
    spans = collector.trace(refused.headers["x-request-id"].removeprefix("req_"))
    codes = {kind: span.status.code for kind, span in spans.items()}
    assert codes == {
        # What its caller has done wrong.
        Span.SPAN_KIND_SERVER: Status.STATUS_CODE_UNSET,
        Span.SPAN_KIND_CLIENT: Status.STATUS_CODE_ERROR,
    }
    assert all(attributes(span)["error.type"] for span in spans.values())


def test_prompts_and_answers_are_part_of_it_only_if_asked(
    started: Callable[..., Server], collector: Collector, upstream: StubUpstream
) -> None:
    server = started(upstream, PROTEGE_TRACES__CONTENT="true")
    answer = ask(server, "other", f"the cat sleeps {SECRET}")
    spans = collector.trace(answer.headers["x-request-id"].removeprefix("req_"))
    called = attributes(spans[Span.SPAN_KIND_CLIENT])
    said = [{"type": "text", "content": f"the cat sleeps {SECRET}"}]
    assert json.loads(called["gen_ai.input.messages"]) == [{"role": "user", "parts": said}]
    meant = {
        "role": "assistant",
        "parts": [{"type": "text", "content": "cat"}],
        "finish_reason": "stop",
    }
    assert json.loads(called["gen_ai.output.messages"]) == [meant]
    kept_out = ask(server, "other", f"the cat sleeps {SECRET}", store=False)
    spans = collector.trace(kept_out.headers["x-request-id"].removeprefix("req_"))
    assert not any(SECRET in str(span) for span in spans.values())


def test_what_is_said_of_tools_and_images_is_traced(
    started: Callable[..., Server], collector: Collector, upstream: StubUpstream
) -> None:
    server = started(upstream, PROTEGE_TRACES__CONTENT="true")
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    upstream.message = {"role": "assistant", "content": None, "tool_calls": [call]}
    upstream.finish_reason = "tool_calls"
    body = {
        "model": "teacher",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}],
    }
    answer = httpx.post(f"{server.url}/chat/completions", json=body)
    spans = collector.trace(answer.headers["x-request-id"].removeprefix("req_"))
    called = attributes(spans[Span.SPAN_KIND_CLIENT])
    asked = {"type": "tool_call", "id": "c1", "name": "look", "arguments": "{}"}
    told = {"type": "tool_call_response", "id": "c1", "response": "a cat"}
    assert json.loads(called["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "What is it?"}, image]},
        {"role": "assistant", "parts": [asked]},
        {"role": "tool", "parts": [told]},
    ]
    assert json.loads(called["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [asked], "finish_reason": "tool_call"}
    ]


def test_what_waits_is_sent_when_the_server_stops(
    started: Callable[..., Server], collector: Collector, upstream: StubUpstream
) -> None:
    server = started(upstream, OTEL_BSP_SCHEDULE_DELAY="60000")
    answer = ask(server, "other", "the cat sleeps")
    assert server.stop() == 0
    assert collector.trace(answer.headers["x-request-id"].removeprefix("req_"))


def test_an_endpoint_must_be_a_url(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"traces.endpoint: .*http://"):
        load(None, {"traces": {"endpoint": "collector:4318"}})
