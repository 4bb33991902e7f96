"""From exchanges to examples: what a student is trained on and put to the test with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xxhash

from distill.data import duplicates
from distill.data.flaws import Flaw, flaw
from policies.rules import needs_teacher
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
    group: int = 0
    """Near-duplicates have the same: a test must not part them."""
    flaw: Flaw | None = None
    """Why the answer is not to be learnt; it is evidence all the same."""
    created: float = 0.0
    """Unix time of the request."""
    contradicted: bool = False
    """Whether an audit found that a student had answered it otherwise."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One task's teacher answers."""

    version: str
    """Hash of the exchanges and what is made of them: the same ones give the same version."""
    head: str
    """What every text of the task begins with; left out of the examples."""
    examples: tuple[Example, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Exchanges of which no example was made, by reason."""

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def evidence(self) -> int:
        """How many examples count in a test."""
        return sum(example.weight > 0 for example in self.examples)

    @property
    def flaws(self) -> Mapping[str, int]:
        """Examples whose answers are not to be learnt, by reason."""
        return Counter(example.flaw for example in self.examples if example.flaw)


def build(exchanges: Sequence[Exchange]) -> Dataset:
    """Make a dataset of exchanges with stored requests and teacher answers.

    Left out are requests that no student is ever asked (``policies.rules.needs_teacher`` says why)
    and those that cannot be read.
    """
    kept, dropped = [], Counter[str]()
    for exchange in exchanges:
        body = _body(exchange.request)
        reason = "unreadable" if body is None else needs_teacher(body)
        if body is None or reason is not None:
            dropped[reason or "unreadable"] += 1
        else:
            kept.append((exchange, body))
    examples, head = _examples(kept)
    return Dataset(_version(kept, examples), head, examples, dict(dropped))


def common_head(texts: Sequence[str]) -> str:
    """The beginning that all ``texts`` share, up to the end of a word; empty if it is short."""
    first, last = min(texts, default=""), max(texts, default="")
    # What the first and the last in order share, all between them share.
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    boundary = max(first.rfind(" ", 0, length), first.rfind("\n", 0, length)) + 1
    return first[:boundary] if boundary >= _LEAST_HEAD else ""


_Read = tuple[Exchange, Mapping[str, Any]]
"""An exchange and its request."""


def _body(request: str | None) -> Mapping[str, Any] | None:
    try:
        body = json.loads(request or "")
    except ValueError:
        return None
    return body if isinstance(body, dict) and isinstance(body.get("messages"), list) else None


def _examples(kept: Sequence[_Read]) -> tuple[tuple[Example, ...], str]:
    """An example for each exchange, and what all of their texts begin with."""
    texts = [read_prompt(body).text for _, body in kept]
    head = common_head(texts)
    varying = [text[len(head) :] for text in texts]
    wording = _wordings([exchange.lesson for exchange, _ in kept])
    examples = tuple(
        Example(
            text,
            wording[exchange.lesson.strip()],
            exchange.prompt_tokens,
            exchange.completion_tokens,
            _weight(exchange),
            group,
            # What a person wrote is what a person wants.
            None if exchange.right_answer else flaw(body, exchange.lesson),
            exchange.created,
            exchange.agreed is False,
        )
        for (exchange, body), text, group in zip(
            kept, varying, duplicates.groups(varying), strict=True
        )
    )
    return examples, head


def _version(kept: Sequence[_Read], examples: Sequence[Example]) -> str:
    """Ids alone do not tell: a person may correct an answer at any time."""
    digest = xxhash.xxh3_64()
    for (exchange, _), example in zip(kept, examples, strict=True):
        content = (exchange.id, example.text, example.answer, example.weight, example.flaw)
        digest.update(repr(content).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _weight(exchange: Exchange) -> float:
    """The inverse of the probability that the teacher was asked.

    Where a student answered and chance did not choose an audit, a person has put the answer right:
    people look at answers that are wrong, so those say nothing of the others.
    """
    if exchange.route == "student" and not exchange.sampled:
        return 0.0
    return 1.0 / (exchange.propensity or 1.0)


def _wordings(answers: Sequence[str]) -> dict[str, str]:
    """The most frequent wording of each answer, by the answer without white space around it."""
    wordings: dict[str, str] = {}
    for answer, _ in Counter(answers).most_common():
        wordings.setdefault(answer.strip(), answer)
    return wordings
