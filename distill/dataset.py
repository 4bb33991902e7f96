"""From exchanges to examples: what a student is trained on and put to the test with."""

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
    weight: float = 1.0
    """How many of the task's requests it stands for in a test; 0 where it is no fair sample."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One task's teacher answers."""

    version: str
    """Hash of the exchanges and their lessons: the same ones give the same version."""
    head: str
    """What every text of the task begins with; left out of the examples."""
    examples: tuple[Example, ...]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def evidence(self) -> int:
        """How many examples count in a test."""
        return sum(example.weight > 0 for example in self.examples)


def build(exchanges: Sequence[Exchange]) -> Dataset:
    """Make a dataset of exchanges with stored requests and teacher answers."""
    texts = [read_prompt(json.loads(exchange.request or "")).text for exchange in exchanges]
    head = common_head(texts)
    wording = _wordings([exchange.lesson for exchange in exchanges])
    examples = tuple(
        Example(
            text[len(head) :],
            wording[exchange.lesson.strip()],
            exchange.prompt_tokens,
            exchange.completion_tokens,
            _weight(exchange),
        )
        for exchange, text in zip(exchanges, texts, strict=True)
    )
    # A person may correct an answer at any time, so the ids alone do not tell.
    lessons = "\n".join(f"{exchange.id} {exchange.lesson}" for exchange in exchanges)
    version = xxhash.xxh3_64_hexdigest(lessons.encode("utf-8", "surrogatepass"))
    return Dataset(version, head, examples)


def _weight(exchange: Exchange) -> float:
    """The inverse of the probability that the teacher was asked.

    Where a student answered and chance did not choose an audit, a person has put the answer right:
    people look at answers that are wrong, so those say nothing of the others.
    """
    if exchange.route == "student" and not exchange.sampled:
        return 0.0
    return 1.0 / (exchange.propensity or 1.0)


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
