"""What a person should look at: answers that are likely wrong, and what speaks against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from distill.data.dataset import Dataset
from distill.data.suspects import Doubt, sieve, suspects
from distill.students import label
from distill.students.fitting import frequent_labels
from policies.agreement import agree
from telemetry.exchange import Exchange

_SURE = 0.9
"""Confidence of a student whose word against the teacher's is worth a look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer of the teacher that is likely wrong."""

    id: str
    """The exchange's."""
    text: str
    answer: str
    suggestion: str
    probability: float
    """Of the suggestion, as far as is known."""
    doubt: Doubt | Literal["contradicted"]
    """``contradicted``: by a student that was sure, and had not seen the answer."""
    left_out: bool
    """Whether a student that is trained today does not learn it."""


def findings(data: Dataset, exchanges: Sequence[Exchange] = ()) -> list[Finding]:
    """The likely wrong answers of a dataset, the surest first. Trains a student of n-grams; none
    are found where there is nothing to learn.

    Of the ``exchanges`` that it was built from, what students have said is taken into account.
    """
    examples = data.examples
    labels = frequent_labels(data.taught)
    if not labels:
        return []
    trained = label.train(
        [example.text for example in examples],
        [example.answer for example in examples],
        labels,
        groups=[example.group for example in examples],
        taught=sieve(data, labels),
    )
    found = [
        Finding(
            examples[one.place].id,
            examples[one.place].text,
            examples[one.place].answer,
            one.suggestion,
            one.probability,
            one.doubt,
            not trained.taught[one.place, -1],
        )
        for one in suspects(data, labels, trained.probabilities)
    ]
    named = {one.id for one in found}
    found += [one for one in _contradicted(data, exchanges) if one.id not in named]
    return sorted(found, key=lambda one: (-one.probability, one.id))


def _contradicted(data: Dataset, exchanges: Sequence[Exchange]) -> list[Finding]:
    doubtful = {
        exchange.id: exchange
        for exchange in exchanges
        if exchange.student_answer is not None
        and (exchange.confidence or 0.0) >= _SURE
        and not agree(exchange.student_answer, exchange.lesson)
    }
    return [
        Finding(
            example.id,
            example.text,
            example.answer,
            doubtful[example.id].student_answer or "",
            doubtful[example.id].confidence or 0.0,
            "contradicted",
            left_out=False,
        )
        for example in data.examples
        if example.id in doubtful and example.flaw is None and not example.vouched
    ]
