"""From exchanges to examples: what a student is trained on, and what decides its promotion."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import xxhash

from policies.tasks import read_prompt
from telemetry.exchange import Exchange

_LEAST_HEAD = 16
"""Characters of a common beginning that are worth leaving out."""


@dataclass(frozen=True, slots=True)
class Example:
    """A request's varying text and the teacher's answer to it."""

    text: str
    answer: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """One task's teacher answers, split by prompt: no prompt is on both sides."""

    version: str
    """Hash of the exchanges and their lessons: the same ones give the same version."""
    head: str
    """What every text of the task begins with; left out of the examples."""
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    """A uniform random sample of the task's traffic, never trained on."""

    def __len__(self) -> int:
        return len(self.train) + len(self.held_out)


def build(exchanges: Sequence[Exchange], holdout: float) -> Dataset:
    """Make a dataset of exchanges with stored requests and teacher answers.

    A share ``holdout`` of the prompts is held out. Of those, only exchanges marked ``sampled``
    count: the others reached the teacher because a student was unsure, and would make the task
    look harder than it is.
    """
    texts = [read_prompt(json.loads(exchange.request or "")).text for exchange in exchanges]
    head = common_head(texts)
    wording = _wordings([exchange.lesson for exchange in exchanges])
    train, held_out = [], []
    for exchange, text in zip(exchanges, texts, strict=True):
        example = Example(
            text[len(head) :],
            wording[exchange.lesson.strip()],
            exchange.prompt_tokens,
            exchange.completion_tokens,
        )
        if not is_held_out(text, holdout):
            train.append(example)
        elif exchange.sampled:
            held_out.append(example)
    # A person may correct an answer at any time, so the ids alone do not tell.
    lessons = "\n".join(f"{exchange.id} {exchange.lesson}" for exchange in exchanges)
    version = xxhash.xxh3_64_hexdigest(lessons.encode("utf-8", "surrogatepass"))
    return Dataset(version, head, tuple(train), tuple(held_out))


def is_held_out(text: str, share: float) -> bool:
    """Whether a prompt is held out: by its hash, so that repeats fall on the same side."""
    normal = " ".join(text.lower().split())
    return xxhash.xxh3_64_intdigest(normal.encode("utf-8", "surrogatepass")) < share * 2**64


def common_head(texts: Sequence[str]) -> str:
    """The beginning that all ``texts`` share, up to the end of a word; empty if it is short."""
    first, last = min(texts, default=""), max(texts, default="")
    # What the first and the last in order share, all between them share.
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    boundary = max(first.rfind(" ", 0, length), first.rfind("\n", 0, length)) + 1
    return first[:boundary] if boundary >= _LEAST_HEAD else ""


def _wordings(answers: Sequence[str]) -> dict[str, str]:
    """The most frequent wording of each answer, by the answer without white space around it."""
    wordings: dict[str, str] = {}
    for answer, _ in Counter(answers).most_common():
        wordings.setdefault(answer.strip(), answer)
    return wordings
