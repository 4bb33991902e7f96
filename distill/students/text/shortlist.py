"""Which tokens a text student may write: where answers are made of few, those alone.

Of a small language model its output layer is a good part, read once for every token that is
written, and a task's answers need little of it (vocabulary selection: Jean et al. 2015, "On Using
Very Large Target Vocabulary"). What is asked is read with all tokens all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from distill.students.text.vocabulary import Vocabulary

_MOST_NEW = 0.005
"""Share of the answers to come that may have a token which no answer had before."""


def shortlist(answers: Sequence[Sequence[int]], vocabulary: Vocabulary) -> list[int] | None:
    """Ids of the tokens of these ``answers`` and of single characters, so that whatever can be
    written still can be; None where the next answers would want others too.

    How likely that is, those say that have a token which no other has (Good 1953, "The Population
    Frequencies of Species").
    """
    found = Counter(chain.from_iterable(map(set, answers)))
    new = sum(any(found[token] == 1 for token in answer) for answer in answers)
    if new > _MOST_NEW * len(answers):
        return None
    return sorted({*found, *vocabulary.characters()})
