"""The bench's traffic: support tickets, sent as one task with a student and one without."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

LEARNT_TASK = "bench-learnt"
OTHER_TASK = "bench-other"

INSTRUCTION = (
    "You sort the tickets of a shop's customers. Answer with the department that has to deal with "
    "the ticket, and with nothing else: billing, shipping, returns or account."
)
DEPARTMENTS = {
    "billing": ["invoice", "charged", "payment", "receipt"],
    "shipping": ["parcel", "courier", "delivery", "tracking"],
    "returns": ["refund", "broken", "exchange", "damaged"],
    "account": ["password", "login", "username", "profile"],
}
_FILLER = (
    "hello please could you help me with my order since last week i have been waiting and nobody "
    "answered the phone today so now i write to you thanks in advance for your kind reply it is "
    "about the blue one from the spring catalogue that my sister bought"
)
_FILLER_WORDS = 40


def department(body: bytes) -> str:
    """What the teacher answers to the request ``body``."""
    for name, words in DEPARTMENTS.items():
        if any(word.encode() in body for word in words):
            return name
    raise ValueError("not one of the bench's tickets")


def bodies(model: str, task: str, count: int, seed: int, **more: object) -> list[bytes]:
    """``count`` chat completion requests as JSON, each with the parameters in ``more``."""
    rng = random.Random(seed)
    return [_body(model, task, _ticket(rng), more) for _ in range(count)]


def streams(model: str, task: str, count: int, seed: int, gap_ms: int) -> list[bytes]:
    """As ``bodies``, for streams of whose chunks the stub sends one every ``gap_ms``."""
    # A parameter that every gateway passes on.
    return bodies(model, task, count, seed, stream=True, user=f"gap-{gap_ms}")


def _ticket(rng: random.Random) -> str:
    words = rng.choices(_FILLER.split(), k=_FILLER_WORDS)
    topic = rng.choice(list(DEPARTMENTS.values()))
    for position in rng.sample(range(_FILLER_WORDS), 2):
        words[position] = rng.choice(topic)
    return " ".join(words)


def _body(model: str, task: str, ticket: str, more: Mapping[str, object]) -> bytes:
    messages = [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": ticket},
    ]
    request = {"model": model, "messages": messages, "metadata": {"task": task}, **more}
    return json.dumps(request).encode()
