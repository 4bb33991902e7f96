"""The data card: what a dataset is made of and what was left out, as Datasheets for Datasets
(Gebru et al. 2021) would have it told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from distill.card import DataCard
from distill.data.consistency import consistency
from distill.data.dataset import Dataset
from distill.data.teachers import Teachers
from distill.students.base import LEAST_SUPPORT
from telemetry.exchange import Exchange

_MOST_LABELS = 64


def card(data: Dataset, exchanges: Sequence[Exchange], left_out: Mapping[str, int]) -> DataCard:
    """The card of the dataset that was built from ``exchanges``; ``left_out`` counts by reason the
    answers that were not among them."""
    times = [exchange.created for exchange in exchanges]
    labels = Counter(data.taught)
    # Rare answers may be anybody's words, which a card must not keep.
    listed = {
        answer: times
        for answer, times in labels.most_common(_MOST_LABELS)
        if times >= LEAST_SUPPORT
    }
    todays = Teachers.of(exchanges)
    teachers = Counter(
        exchange.model
        for exchange in exchanges
        if exchange.route == "teacher" and todays.gave(exchange)
    )
    groups = {example.group for example in data.examples}
    return DataCard(
        version=data.version,
        answers=len(data),
        evidence=data.evidence,
        from_=_iso(min(times, default=None)),
        until=_iso(max(times, default=None)),
        teachers=dict(teachers.most_common()),
        audits=sum(exchange.route == "student" for exchange in exchanges),
        imported=sum(exchange.route == "imported" for exchange in exchanges),
        corrected=sum(bool(exchange.right_answer) for exchange in exchanges),
        near_duplicates=len(data) - len(groups),
        not_learnt=dict(data.flaws),
        left_out=dict(Counter(data.dropped) + Counter(left_out)),
        consistency=consistency(data),
        private=dict(data.private),
        masked=data.masked,
        answers_by_label=listed,
        other_answers=labels.total() - sum(listed.values()),
    )


def _iso(time: float | None) -> str | None:
    if time is None:
        return None
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
