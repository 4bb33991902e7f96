"""Exemplars are the newest of all processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client import Metric

from telemetry.metrics.exemplars import Exemplars


def shown(exemplars: Exemplars) -> list[str | None]:
    """The exchanges that the buckets of a histogram are shown with."""
    family = Metric("seconds", "How long.", "histogram")
    for le in ("0.5", "1.0", "+Inf"):
        family.add_sample("seconds_bucket", {"route": "teacher", "le": le}, 1)
    family.add_sample("seconds_count", {"route": "teacher"}, 1)
    exemplars.show([family])
    return [one.exemplar and one.exemplar.labels["exchange_id"] for one in family.samples]


def test_each_bucket_has_the_newest_of_any_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Exemplars(tmp_path), Exemplars(tmp_path)
    mine, others = (each.of("seconds", "teacher", [0.5, 1]) for each in (one, other))
    mine.tell({0: (0.1, "a"), 1: (0.7, "b")})
    others.tell({1: (0.8, "c")})
    assert shown(one) == ["a", "b", None, None]
    monkeypatch.setattr(os, "getpid", lambda: 12)
    other.share()
    assert shown(one) == ["a", "c", None, None]
    mine.tell({1: (0.9, "d"), 2: (5.0, "e")})
    assert shown(one) == ["a", "d", "e", None]


def test_one_process_needs_no_folder() -> None:
    exemplars = Exemplars(None)
    exemplars.of("seconds", "teacher", [0.5, 1]).tell({0: (0.1, "a")})
    exemplars.share()
    assert shown(exemplars) == ["a", None, None, None]
