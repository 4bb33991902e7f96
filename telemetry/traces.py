"""OpenTelemetry traces: one for each exchange, sent to a collector over OTLP.

The trace of a request is the exchange with other words, so it is made of it when all is over and
costs the request nothing before. Names are those of OpenTelemetry's semantic conventions for
generative AI (1.38) where these have one, else they begin with ``protege.``.

Of a task that Protege has named itself, by words of its prompt, the hash is shown, as in logs,
unless prompts are asked for.

A caller's ``traceparent`` (W3C Trace Context) is continued. Without one the trace has the
exchange's id, so that whoever has the one finds the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import getrandbits

import orjson
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import IdGenerator, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from config.settings import TraceSettings
from telemetry import conventions, messages
from telemetry.conventions import operation
from telemetry.exchange import PICO, Exchange
from telemetry.logs import nameless

Value = str | int | float | bool | list[str]

_NANO = 10**9
_PARENTS = TraceContextTextMapPropagator()

_OURSELVES = "protege"
"""The provider of students that run here."""


class Traces:
    """Sends traces in the background, a few seconds late. None is worth waiting for: if the
    collector is away, they are lost."""

    def __init__(
        self,
        settings: TraceSettings,
        provider: Callable[[str], str],
        exporter: SpanExporter | None = None,
    ) -> None:
        """``provider`` is litellm's name of whose API an upstream model is asked through;
        ``exporter`` goes before that of the settings' endpoint."""
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        exporter = exporter or OTLPSpanExporter(settings.endpoint, headers=headers)
        self._ids = _ExchangeIds()
        self._content = settings.content
        self._provider_of = provider
        self._provider = TracerProvider(
            ParentBasedTraceIdRatio(settings.share),
            Resource.create({"service.name": "protege"}),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("protege")

    def exchange(self, exchange: Exchange, parent: str | None, upstream_s: float) -> None:
        """Trace an exchange whose caller sent ``parent`` as its ``traceparent`` and that waited for
        upstreams so many seconds, until its end."""
        context = _PARENTS.extract({"traceparent": parent}) if parent else Context()
        self._ids.trace = int(exchange.id.removeprefix("req_"), 16)
        shown = exchange if self._content else _without_words(exchange)
        start = exchange.created
        end = start + exchange.latency_s
        request = self._tracer.start_span(
            f"protege {exchange.dialect}",
            context,
            SpanKind.SERVER,
            dict(_of_request(shown)),
            start_time=_nano(start),
        )
        # To a server what its caller has done wrong is no error, by the conventions for HTTP.
        _end(request, exchange, end, failed=exchange.failed)
        by_student = exchange.route == "student"
        if by_student or exchange.attempts:
            call = self._tracer.start_span(
                f"{operation(exchange.dialect)} {shown.model}",
                set_span_in_context(request, context),
                SpanKind.INTERNAL if by_student else SpanKind.CLIENT,
                dict(_of_call(shown, self._name_of_provider(exchange))),
                start_time=_nano(start if by_student else end - upstream_s),
            )
            if self._content:
                call.set_attributes(dict(_content(exchange)))
            if exchange.first_token_s is not None:
                at = _nano(start + exchange.first_token_s)
                call.add_event("gen_ai.first_token", timestamp=at)
            _end(call, exchange, end, failed=exchange.error is not None)

    def _name_of_provider(self, exchange: Exchange) -> str:
        if exchange.route == "student" and not exchange.hosted:
            return _OURSELVES
        return conventions.provider(self._provider_of(exchange.model))

    def close(self) -> None:
        """Send what is waiting."""
        self._provider.shutdown()


class _ExchangeIds(IdGenerator):
    """Gives a trace the id of its exchange, which has as many bits."""

    def __init__(self) -> None:
        self.trace = 1

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return getrandbits(64) or 1


def _without_words(exchange: Exchange) -> Exchange:
    """With no name that is made of words of a prompt."""
    task = nameless(exchange.task)
    if task == exchange.task:
        return exchange
    # A student has its task's name.
    student = None if exchange.student is None else nameless(exchange.student)
    model = nameless(exchange.model) if exchange.route == "student" else exchange.model
    return replace(exchange, task=task, student=student, model=model)


def _of_request(exchange: Exchange) -> Iterator[tuple[str, Value]]:
    yield "http.response.status_code", exchange.status
    yield "protege.exchange.id", exchange.id
    yield "protege.route", exchange.route
    yield "protege.reason", exchange.reason
    yield "protege.task", exchange.task
    yield "protege.model", exchange.model
    yield "protege.cost_usd", exchange.cost / PICO
    yield "protege.saved_usd", (exchange.teacher_cost - exchange.cost) / PICO
    if exchange.key is not None:
        yield "protege.key.id", exchange.key
    if exchange.student is not None:
        yield "protege.student", exchange.student
    if exchange.confidence is not None:
        yield "protege.student.confidence", exchange.confidence
    if exchange.decision is not None:
        yield from _flat("protege.decision", orjson.loads(exchange.decision))


def _of_call(exchange: Exchange, provider: str) -> Iterator[tuple[str, Value]]:
    yield "gen_ai.operation.name", operation(exchange.dialect)
    yield "gen_ai.provider.name", provider
    yield "gen_ai.request.model", exchange.model
    yield "gen_ai.usage.input_tokens", exchange.prompt_tokens
    yield "gen_ai.usage.output_tokens", exchange.completion_tokens
    yield "protege.attempts", exchange.attempts
    if exchange.completion_id is not None:
        yield "gen_ai.response.id", exchange.completion_id
    if exchange.finish_reason is not None:
        yield "gen_ai.response.finish_reasons", [exchange.finish_reason]


def _content(exchange: Exchange) -> Iterator[tuple[str, Value]]:
    """What was asked and said."""
    if exchange.request is not None:
        yield "gen_ai.input.messages", orjson.dumps(messages.asked(exchange.request)).decode()
    said = messages.answered(exchange)
    if said:
        yield "gen_ai.output.messages", orjson.dumps(said).decode()


def _flat(name: str, values: Mapping[str, object]) -> Iterator[tuple[str, Value]]:
    """Attributes have no structure: a path for each value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{name}.{key}", value)
        elif isinstance(value, str | int | float):
            yield f"{name}.{key}", value


def _end(span: Span, exchange: Exchange, end: float, *, failed: bool) -> None:
    if exchange.error is not None:
        span.set_attribute("error.type", exchange.error)
    if failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end(_nano(end))


def _nano(seconds: float) -> int:
    return round(seconds * _NANO)
