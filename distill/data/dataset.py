"""From exchanges to examples: what a student is trained on and put to the test with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from config.settings import PrivateData
from distill.data import duplicates
from distill.data.flaws import Flaw, flaw
from distill.data.instructions import in_use
from distill.data.private import find, mask, mask_strange
from distill.data.teachers import Teachers
from policies.agreement import agree
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
    id: str = ""
    """The exchange's."""
    vouched: bool = False
    """Whether a person has said that the answer is right."""
    withdrawn: str | None = None
    """What the teacher said, where a person has put another answer in its place."""
    repeats: tuple[str, ...] = ()
    """What the teacher said when it was asked again."""
    instruction: str = ""
    """The name of the instruction that the request had."""
    request: str | None = None
    """The whole request, and all that the teacher gave, as the exchange keeps them: left out where
    private data are masked, for these have them."""
    choices: str | None = None

    @property
    def said(self) -> str:
        """What the teacher said: what is tested, for the promise is about that."""
        return self.answer if self.withdrawn is None else self.withdrawn


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
    private: Mapping[str, int] = field(default_factory=dict)
    """Examples with private data, by kind; empty where they were not looked for."""
    masked: bool = False
    """Whether placeholders stand for private data, in texts and answers."""
    instructions: tuple[str, ...] | None = None
    """Those that the examples were asked under; None where they are not told apart."""
    even: bool = False
    """Whether examples that are alike have the same weight, whenever the teacher was asked."""

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def texts(self) -> list[str]:
        return [example.text for example in self.examples]

    @property
    def answers(self) -> list[str]:
        return [example.answer for example in self.examples]

    @property
    def said(self) -> list[str]:
        """What the teacher said."""
        return [example.said for example in self.examples]

    @property
    def groups(self) -> list[int]:
        return [example.group for example in self.examples]

    @property
    def taught(self) -> list[str]:
        """The answers that are to be learnt."""
        return [example.answer for example in self.examples if example.flaw is None]

    @property
    def told_apart(self) -> list[str] | None:
        """The instructions of the examples that count in a test; None where they are not told
        apart."""
        if self.instructions is None:
            return None
        return [example.instruction for example in self.tested]

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """[n]: the examples' weights."""
        return np.array([example.weight for example in self.examples], dtype=np.float64)

    def agreed(self, learnt: npt.NDArray[np.bool_], said: Sequence[str]) -> npt.NDArray[np.bool_]:
        """[n]: where a student that ``said`` [n] agrees with the teacher; ``learnt`` [n] is where
        it agrees with the answers that are to be learnt."""
        withdrawn = [row for row, each in enumerate(self.examples) if each.withdrawn is not None]
        agreed = learnt.copy()
        agreed[withdrawn] = [agree(said[row], self.examples[row].said) for row in withdrawn]
        return agreed

    @property
    def tested(self) -> list[Example]:
        """The examples that count in a test."""
        return [example for example in self.examples if example.weight > 0]

    @property
    def evidence(self) -> int:
        """How many these are."""
        return len(self.tested)

    @property
    def flaws(self) -> Mapping[str, int]:
        """Examples whose answers are not to be learnt, by reason."""
        return Counter(example.flaw for example in self.examples if example.flaw)


def build(exchanges: Sequence[Exchange], private: PrivateData = "off") -> Dataset:
    """Make a dataset of exchanges with stored requests and teacher answers.

    Left out are requests that no student is ever asked (``policies.rules.needs_teacher`` says why),
    those under an instruction that is not in use, those that a former teacher answered (but for
    what people have put right) and those that cannot be read. ``private`` says what becomes of
    private data.
    """
    read, dropped = _read(exchanges)
    instructions = in_use([one.instruction for one in read if one.is_asked])
    if instructions is not None:
        every = len(read)
        read = [one for one in read if one.instruction in instructions or not one.is_asked]
        dropped["instruction"] += every - len(read)
    found = Counter[str]()
    if private != "off":
        for one in read:
            found.update({span.kind for span in find(f"{one.text}\n{one.answer}")})
    if private == "mask":
        read = _mask(read)
    head = common_head([one.text for one in read])
    examples = _examples(read, head, whole=private != "mask")
    version = _version(read, examples)
    return Dataset(
        version,
        head,
        examples,
        dict(+dropped),
        dict(found),
        private == "mask",
        None if instructions is None else tuple(sorted(instructions)),
    )


def asked_under(request: str | None) -> str | None:
    """The name of the instruction that a stored ``request`` has; None where it is none that a
    student is ever asked, or cannot be read."""
    body = _body(request)
    return None if body is None or needs_teacher(body) else read_prompt(body).instruction


def common_head(texts: Sequence[str]) -> str:
    """The beginning that all ``texts`` share, up to the end of a word; empty if it is short."""
    first, last = min(texts, default=""), max(texts, default="")
    # What the first and the last in order share, all between them share.
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    boundary = max(first.rfind(" ", 0, length), first.rfind("\n", 0, length)) + 1
    return first[:boundary] if boundary >= _LEAST_HEAD else ""


@dataclass(frozen=True, slots=True)
class _Read:
    """An exchange, and what was read of it."""

    exchange: Exchange
    instruction: str
    text: str
    answer: str
    flaw: Flaw | None
    repeats: tuple[str, ...]
    withdrawn: str | None
    weight: float

    @property
    def is_asked(self) -> bool:
        """Whether somebody has asked it: what was imported need not have the task's instruction."""
        return self.exchange.route != "imported"


def _read(exchanges: Sequence[Exchange]) -> tuple[list[_Read], Counter[str]]:
    """What can be read, and why the rest cannot or need not be."""
    read: list[_Read] = []
    dropped = Counter[str]()
    teachers = Teachers.of(exchanges)
    for exchange in exchanges:
        todays = exchange.route == "imported" or teachers.gave(exchange)
        if not (todays or exchange.right_answer):
            dropped["teacher"] += 1
            continue
        body = _body(exchange.request)
        reason = "unreadable" if body is None else needs_teacher(body)
        if body is None or reason is not None:
            dropped[reason or "unreadable"] += 1
            continue
        answer = exchange.lesson
        # What a person wrote is what a person wants.
        found = None if exchange.right_answer else flaw(body, answer)
        repeats = () if exchange.right_answer else tuple(json.loads(exchange.repeats or "[]"))
        withdrawn = exchange.teacher_answer if exchange.right_answer else None
        prompt = read_prompt(body)
        read.append(
            _Read(
                exchange,
                prompt.instruction,
                prompt.text,
                answer,
                found,
                repeats,
                withdrawn,
                _weight(exchange) if todays else 0.0,
            )
        )
    return read, dropped


def _body(request: str | None) -> Mapping[str, Any] | None:
    try:
        body = json.loads(request or "")
    except ValueError:
        return None
    return body if isinstance(body, dict) and isinstance(body.get("messages"), list) else None


def _mask(read: Sequence[_Read]) -> list[_Read]:
    """The same with placeholders for private data. An answer has those of its text.

    Of what an answer alone has nobody could know what to put back, so that it is not learnt, and
    its placeholders are those of no other answer: no student agrees with it. But an answer that
    several requests have is nobody's own, and stays as it is.
    """
    counts = Counter(one.answer.strip() for one in read)
    often = {answer for answer, times in counts.items() if times > 2}
    numbers = count(1)
    masked = []
    for one in read:
        text = mask(one.text)
        said = [one.answer, one.withdrawn or "", *one.repeats]
        hidden = [text.hide(each) for each in said]
        strange = mask_strange(hidden, numbers)
        answer, withdrawn, *repeats = (
            kept if each.strip() in often else own
            for each, kept, own in zip(said, hidden, strange, strict=True)
        )
        masked.append(
            replace(
                one,
                text=text.text,
                answer=answer,
                flaw=one.flaw if answer == hidden[0] else one.flaw or "private",
                repeats=tuple(repeats),
                withdrawn=None if one.withdrawn is None else withdrawn,
            )
        )
    return masked


def _examples(read: Sequence[_Read], head: str, *, whole: bool) -> tuple[Example, ...]:
    """An example each, without the ``head`` of its text; with all that was said, where they are to
    be ``whole``."""
    texts = [one.text[len(head) :] for one in read]
    wording = _wordings([one.answer for one in read])
    return tuple(
        Example(
            text,
            wording[one.answer.strip()],
            one.exchange.prompt_tokens,
            one.exchange.completion_tokens,
            one.weight,
            group,
            one.flaw,
            one.exchange.created,
            one.exchange.agreed is False,
            one.exchange.id,
            # One that a person called wrong would not be here.
            one.exchange.score is not None or bool(one.exchange.right_answer),
            one.withdrawn,
            tuple(wording.get(said.strip(), said) for said in one.repeats),
            one.instruction,
            one.exchange.request if whole else None,
            one.exchange.choices if whole and one.exchange.route == "teacher" else None,
        )
        for one, text, group in zip(read, texts, duplicates.groups(texts), strict=True)
    )


def _version(read: Sequence[_Read], examples: Sequence[Example]) -> str:
    """Ids alone do not tell: a person may correct an answer at any time."""
    digest = xxhash.xxh3_64()
    for one, example in zip(read, examples, strict=True):
        content = (
            *(one.exchange.id, example.text, example.answer, example.weight, example.flaw),
            *example.repeats,
        )
        digest.update(repr(content).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _weight(exchange: Exchange) -> float:
    """The inverse of the probability that the teacher was asked.

    Where the teacher has given no whole answer, or a student answered and chance did not choose an
    audit, a person has put the answer right: people look at answers that are wrong, so those say
    nothing of the others. And what was imported nobody has asked.
    """
    if exchange.route == "imported" or exchange.teacher_answer is None or exchange.inconclusive:
        return 0.0
    chosen = exchange.sampled if exchange.route == "student" else exchange.finish_reason == "stop"
    return 1.0 / (exchange.propensity or 1.0) if chosen else 0.0


def _wordings(answers: Sequence[str]) -> dict[str, str]:
    """The most frequent wording of each answer, by the answer without white space around it."""
    wordings: dict[str, str] = {}
    for answer, _ in Counter(answers).most_common():
        wordings.setdefault(answer.strip(), answer)
    return wordings
