"""The data card: what a dataset is made of and what was left out, as Datasheets for Datasets
(Gebru et al. 2021) would have it told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from distill.data.consistency import consistency
from distill.data.dataset import Dataset
from distill.students.base import LEAST_SUPPORT
from telemetry.exchange import Exchange

_MOST_LABELS = 64


def card(
    data: Dataset, exchanges: Sequence[Exchange], left_out: Mapping[str, int]
) -> dict[str, Any]:
    """The card of the dataset that was built from ``exchanges``, ready for JSON.

    ``left_out`` counts by reason the answers that were not among them. Times are ISO 8601 in UTC.
    """
    times = [exchange.created for exchange in exchanges]
    labels = Counter(data.taught)
    # Rare answers may be anybody's words, which a card must not keep.
    listed = {
        answer: times
        for answer, times in labels.most_common(_MOST_LABELS)
        if times >= LEAST_SUPPORT
    }
    teachers = Counter(exchange.model for exchange in exchanges if exchange.route == "teacher")
    told = consistency(data)
    groups = {example.group for example in data.examples}
    return {
        "version": data.version,
        "answers": len(data),
        "evidence": data.evidence,
        "from": _iso(min(times, default=None)),
        "until": _iso(max(times, default=None)),
        "teachers": dict(teachers.most_common()),
        "audits": sum(exchange.route == "student" for exchange in exchanges),
        "imported": sum(exchange.route == "imported" for exchange in exchanges),
        "corrected": sum(bool(exchange.right_answer) for exchange in exchanges),
        "near_duplicates": len(data) - len(groups),
        "not_learnt": dict(data.flaws),
        "left_out": dict(Counter(data.dropped) + Counter(left_out)),
        "consistency": told and asdict(told),
        "private": dict(data.private),
        "masked": data.masked,
        "answers_by_label": listed,
        "other_answers": labels.total() - sum(listed.values()),
    }


def _iso(time: float | None) -> str | None:
    if time is None:
        return None
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
