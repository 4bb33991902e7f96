"""A month of a small company's requests, made up but for its shape, and the students it taught."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distill.card import Card, Learnt, SliceFigures, Standing, Verdict
from telemetry.exchange import Exchange
from telemetry.store import Store
from tests.router.taught import by_slice, promote

DAY_S = 86400.0
SERVING, REPLACED = "support-triage-7c21e9f0", "support-triage-1b0d44aa"
UNTESTED = "review-sentiment-5e11a0b7"
COMING = "invoice-fields-3c90de12"


@dataclass(frozen=True)
class Kind:
    """What one task's requests are like."""

    task: str
    daily: int
    instruction: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    tokens: int
    taught: int | None = None
    """Days ago that its student came into service."""
    agreement: float = 0.0


KINDS = (
    Kind(
        "support-triage",
        40,
        "Answer with the department: billing, shipping or returns.",
        (
            "My parcel never came.",
            "I was charged twice for one order.",
            "The lamp arrived broken, I want to send it back.",
            "Where is my order? It should have been here on Monday.",
            "Please send the invoice to our accounting office.",
        ),
        ("shipping", "billing", "returns"),
        220,
        taught=21,
        agreement=0.975,
    ),
    Kind(
        "review-sentiment",
        25,
        "Is this review positive, negative or mixed?",
        ("Lovely colour, dreadful zip.", "Best kettle I ever had.", "Stopped working in a week."),
        ("mixed", "positive", "negative"),
        160,
        taught=12,
        agreement=0.93,
    ),
    Kind(
        "product-copy",
        9,
        "Write a product description of two sentences.",
        ("Enamel mug, 350 ml, forest green.", "Wool blanket, 130 by 170 cm."),
        ("A mug for mornings outside. Its enamel keeps the heat and the colour.",),
        610,
    ),
    Kind(
        "invoice-fields",
        12,
        "Extract number, date and total as JSON.",
        ("Invoice 2231 of 3 May, total 88.20 EUR.",),
        ('{"number": "2231", "date": "2026-05-03", "total": 88.2}',),
        480,
    ),
)


def _slice(
    kind: str,
    name: str,
    evidence: int,
    answered: int,
    wrong: int,
    low: float,
    high: float,
    bound: Standing,
) -> SliceFigures:
    share, agreement = evidence / 412, 1 - wrong / answered
    return SliceFigures(kind, name, evidence, share, answered, wrong, agreement, low, high, bound)


SLICES = (
    _slice("all", "all requests", 412, 301, 6, 0.957, 0.993, "kept"),
    _slice("length", "up to 34 characters", 204, 178, 2, 0.96, 0.999, "kept"),
    _slice("length", "over 34 characters", 208, 123, 4, 0.919, 0.991, "open"),
    _slice("topic", "parcel, order, monday", 190, 151, 1, 0.964, 1.0, "kept"),
    _slice("topic", "invoice, office", 61, 44, 5, 0.754, 0.962, "open"),
    _slice("rarity", "long tail", 41, 18, 4, 0.524, 0.936, "broken"),
)


def card(threshold: float | None, reason: str) -> Card:
    return Card(
        data=Learnt(version="5f0c2a7be1d94c10", answers=468, evidence=412, since=0.0),
        labels=("billing", "returns", "shipping"),
        rungs=("ngram", "both"),
        gate=Verdict(threshold is not None, reason, threshold, 412, 301, 6, 0.73, 0.041, 0.03),
        evaluation=by_slice(*SLICES),
        training_s=3.4,
    )


def fill(store: Store, data: Path, now: float) -> None:
    """Add the month before ``now``, and the students."""
    rng = random.Random(20)
    for kind in KINDS:
        store.write(list(_requests(kind, now, rng)))
    promote(store, data, REPLACED, task="support-triage", card=card(0.91, "answers 58%"))
    promote(store, data, SERVING, task="support-triage", card=card(0.84, "answers 73%"))
    promote(store, data, "review-sentiment-90aa12c4", task="review-sentiment", card=card(0.9, "ok"))
    untested = card(None, "no threshold meets the bound")
    promote(store, data, UNTESTED, task="review-sentiment", card=untested)
    assert store.roster.roll_back("review-sentiment", "no threshold meets the bound")
    passed = card(0.8, "answers 61%")
    promote(store, data, COMING, task="invoice-fields", card=passed, stage="canary")


def _requests(kind: Kind, now: float, rng: random.Random) -> Iterator[Exchange]:
    for day in range(30, -1, -1):
        for number in range(max(1, round(kind.daily * rng.uniform(0.6, 1.3)))):
            midnight = now - now % DAY_S
            length = DAY_S if day else now - midnight
            created = midnight - day * DAY_S + rng.uniform(0, length)
            yield _request(kind, created, now, f"{kind.task}-{day}-{number}", rng)


def _request(kind: Kind, created: float, now: float, name: str, rng: random.Random) -> Exchange:
    asked = kind.taught is not None and created > now - kind.taught * DAY_S
    confidence = rng.betavariate(9, 1) if asked else None
    sure = confidence is not None and confidence > 0.84
    right = rng.choice(kind.answers)
    said = right if rng.random() < kind.agreement else rng.choice(kind.answers)
    audited = sure and rng.random() < 0.25
    failed = not sure and rng.random() < 0.01
    teacher_cost = round(kind.tokens * rng.uniform(0.8, 1.3)) * 12_500_000
    teacher = {"agreement": 1.0, "cost": teacher_cost, "latency_s": 0.9}
    student = {"agreement": confidence, "cost": teacher_cost // 400, "latency_s": 0.01}
    reason = "student_confident" if sure else "student_unsure" if asked else "no_student"
    decision = {
        "policy": "bound",
        "route": "student" if sure else "teacher",
        "reason": reason,
        "teacher": teacher,
        "student": student if asked else None,
        "threshold": 0.84,
    }
    body = {
        "model": "auto",
        "messages": [
            {"role": "system", "content": kind.instruction},
            {"role": "user", "content": rng.choice(kind.questions)},
        ],
    }
    return Exchange(
        id=f"req_{name}",
        created=created,
        task=kind.task,
        route="student" if sure else "teacher",
        model=SERVING if sure else "gpt-5.4",
        reason=reason,
        status=502 if failed else 200,
        stream=False,
        sampled=not asked,
        confidence=confidence,
        student=SERVING if asked else None,
        student_answer=said if asked else None,
        propensity=0.25 if sure else 1.0,
        decision=json.dumps(decision),
        request=json.dumps(body),
        answer=None if failed else said if sure else right,
        teacher_answer=right if audited or not (sure or failed) else None,
        agreed=said == right if audited else None,
        finish_reason=None if failed else "stop",
        error="upstream_unreachable" if failed else None,
        prompt_tokens=kind.tokens,
        completion_tokens=8,
        cost=0 if failed else teacher_cost // 400 if sure else teacher_cost,
        teacher_cost=0 if failed else teacher_cost,
        # Something else than was predicted.
        audit_cost=teacher_cost * (90 + teacher_cost // 12_500_000 % 30) // 100 if audited else 0,
        audit_latency_s=0.9 if audited else None,
        latency_s=rng.uniform(0.004, 0.02) if sure else rng.uniform(0.4, 1.8),
    )
