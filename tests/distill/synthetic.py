"""A task made up for tests: support messages with a label that words give away, mostly."""

from __future__ import annotations

import json
import random
from typing import Any

from config.settings import RolloutSettings
from telemetry.exchange import Exchange

AT_ONCE = RolloutSettings(canary=0)
"""Students that pass their test serve without further ado."""

WORDS = {
    "billing": ["invoice", "refund", "charge", "payment", "receipt"],
    "outage": ["down", "offline", "unreachable", "timeout", "crash"],
    "account": ["password", "login", "username", "profile", "email"],
}
FILLER = ["please", "help", "us", "with", "this", "soon", "since", "our", "team", "is", "waiting"]
INSTRUCTION = "Label the message as billing, outage or account. Answer with the label only."


def messages(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": text}]


def stream(count: int, seed: int = 0, noise: float = 0.0) -> list[tuple[str, str]]:
    """``count`` pairs of a text and its label, a share ``noise`` of the labels drawn blindly."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(count):
        label = rng.choice(list(WORDS))
        words = rng.sample(FILLER, 6) + rng.sample(WORDS[label], 2) + [str(rng.randrange(10**6))]
        rng.shuffle(words)
        pairs.append((" ".join(words), rng.choice(list(WORDS)) if rng.random() < noise else label))
    return pairs


def exchange(index: int, text: str, answer: str, task: str = "support", **rest: Any) -> Exchange:
    """The record of a teacher's answer, ``index`` seconds after Unix time 1000."""
    values: dict[str, Any] = {
        "id": f"{task}-{index}",
        "created": 1000.0 + index,
        "task": task,
        "route": "teacher",
        "model": "teacher",
        "reason": "no_student",
        "status": 200,
        "stream": False,
        "sampled": True,
        "request": json.dumps({"messages": messages(text)}),
        "answer": answer,
        "teacher_answer": answer,
        "finish_reason": "stop",
        "prompt_tokens": 20 + len(text) // 4,
        "completion_tokens": 1,
    }
    return Exchange(**(values | rest))


def exchanges(pairs: list[tuple[str, str]], task: str = "support") -> list[Exchange]:
    return [exchange(i, text, answer, task) for i, (text, answer) in enumerate(pairs)]
