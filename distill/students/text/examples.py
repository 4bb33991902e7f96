"""Lessons as tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate, pairwise

from distill.students.text.lesson import Lesson, Told
from distill.students.text.vocabulary import Vocabulary

MOST_TOKENS = 1024
"""An example with more, question and answer together, is left out of the training."""

_REASON = "[reason] "
"""What the text of a question begins with that asks for the reasoning too."""


@dataclass(frozen=True, slots=True)
class Example:
    """A question and its answer as tokens."""

    ids: list[int]
    answer: int
    """How many of the last ids are the answer's."""
    told: Sequence[Mapping[int, float]] = ()
    """Log-probabilities of the teacher's likeliest tokens at each token of the answer, none where
    it has not told them; empty where it has told none at all."""
    asked: list[int] = field(default_factory=list)
    """The question as a local teacher reads it; empty where it is not to score the answer."""
    counts: float = 1.0
    """How much each token of the answer counts."""
    own: bool = False
    """Whether the student has written the answer: it is scored, and not to be learnt."""

    @property
    def weight(self) -> float:
        return self.counts * self.answer


def examples_of(
    lessons: Sequence[Lesson],
    vocabulary: Vocabulary,
    ask: Callable[[Lesson], list[int]] | None = None,
) -> list[Example]:
    """The ``lessons`` that are short enough. A local teacher, which is asked with what ``ask``
    makes of them, has more to say than one has told."""
    examples = []
    for lesson in lessons:
        question, said = vocabulary.question(lesson.text), vocabulary.answer(lesson.answer)
        if len(question) + len(said) <= MOST_TOKENS:
            asked = ask(lesson) if ask else []
            told = aligned(said, lesson.told, vocabulary) if lesson.told and not ask else ()
            examples.append(Example(question + said, len(said), told, asked))
    return examples


def reasons_of(lessons: Sequence[Lesson], vocabulary: Vocabulary) -> list[Example]:
    """The reasoning of those ``lessons`` that have any and are short enough, before their answers:
    another question of the same text (Hsieh et al. 2023, "Distilling Step-by-Step!"), so that who
    asks for the answer alone gets that alone. It counts as much as an answer."""
    examples = []
    for lesson in lessons:
        question = vocabulary.question(_REASON + lesson.text)
        said = vocabulary.answer(f"{lesson.trace}\n{lesson.answer}")
        if lesson.trace and len(question) + len(said) <= MOST_TOKENS:
            counts = len(vocabulary.answer(lesson.answer)) / len(said)
            examples.append(Example(question + said, len(said), counts=counts))
    return examples


def aligned(said: Sequence[int], told: Told, vocabulary: Vocabulary) -> list[dict[int, float]]:
    """What the teacher has told, by the ids of ``vocabulary``, for each token of an answer.

    A teacher with another tokenizer has told nothing of the tokens that it has not itself; of those
    that it might have said in their place, the ones that are no tokens here are left out. For
    tokenizers whose tokens' texts add up to the answer's, as those of bytes do.
    """
    places = {}
    at = 0
    for token, likeliest in told:
        places[at, at + len(token)] = likeliest
        at += len(token)

    @cache
    def id_of(token: str) -> int | None:
        *ids, _ = vocabulary.answer(token)
        return ids[0] if len(ids) == 1 else None

    texts = [vocabulary.text([id_]) for id_ in said[:-1]]
    if "".join(texts) != "".join(token for token, _ in told):
        return []
    ends = list(accumulate(map(len, texts), initial=0))
    here = [places.get(place, {}) for place in pairwise(ends)]
    # The mark of the end is the last: no API tells of that.
    return [
        {id_: logprob for token, logprob in one.items() if (id_ := id_of(token)) is not None}
        for one in (*here, {})
    ]
