"""What a scraper is sent is what prometheus_client would send it, to the letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from telemetry.metrics import text

words = st.text(st.sampled_from('aé"\\\n{},='), max_size=6)
values = st.floats() | st.integers(-(2**53), 2**53).map(float)


@given(words, st.lists(st.tuples(words, words), max_size=4), st.lists(values, min_size=3))
def test_both_formats(help_: str, labels: list[tuple[str, str]], numbers: list[float]) -> None:
    registry = CollectorRegistry()
    counter = Counter("a_total", help_, ["two", "one"], registry=registry)
    gauge = Gauge("b", help_, registry=registry)
    histogram = Histogram("c_seconds", help_, ["one"], registry=registry, buckets=[0.5, 1e7])
    for names, number in zip(labels, numbers, strict=False):
        counter.labels(*names).inc(abs(number))
        histogram.labels(names[0]).observe(number, {"exchange_id": names[1]})
    gauge.set(numbers[-1])
    for encode, accept in [(text.plain, ""), (text.openmetrics, "application/openmetrics-text")]:
        theirs, kind = choose_encoder(accept)
        assert encode(registry.collect()) == theirs(registry)
        assert text.content_type(accept) == kind


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", text.PLAIN),
        ("*/*", text.PLAIN),
        ("text/plain;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", text.PLAIN),
        # Prometheus' own, 2 and 3.
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
            "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            text.OPENMETRICS,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            text.OPENMETRICS,
        ),
    ],
)
def test_the_format_that_is_asked_for(accept: str, kind: str) -> None:
    assert text.content_type(accept) == kind
