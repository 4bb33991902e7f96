"""The parts of a task's evidence that are looked at on their own.

By what is known of a request before anybody answers it: its length, language, topic, age, rarity
and instruction; by the teacher's answer; and by what a student says. The long tail is the strangest
tenth of the requests, and those whose answers are too rare to be learnt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from distill.evaluation.language import FREQUENT, language
from distill.evaluation.strata import LEAST, length_edges
from distill.evaluation.telling import RARITIES, REST, length_names, lengths, rarities

Kind = Literal[
    "all", "temporal", "length", "language", "topic", "age", "rarity", "instruction", "answer"
]
"""``all`` are all requests; ``answer`` is the teacher's, which is known only afterwards."""

Mask = npt.NDArray[np.bool_]

_AGES = ("oldest quarter", "second quarter", "third quarter", "newest quarter")

_TOPICS = 8
_TOPIC_SIZE = 50
"""Requests for each topic, while there are fewer than for ``_TOPICS``."""
_TOPIC_ROWS = 1500
"""Requests that topics are found among; the others go to the nearest."""
_TOPIC_FEATURES = 512
_TOPIC_WORDS = 3
_SEED = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of n requests."""

    kind: Kind
    name: str
    rows: Mask
    """[n]: which of them."""


def cut(
    texts: Sequence[str],
    answers: Sequence[str],
    labels: Sequence[str],
    surprise: npt.NDArray[np.float64],
    instructions: Sequence[str] | None,
) -> list[Slice]:
    """The slices of n requests, oldest first.

    ``texts`` are what varies of them, ``answers`` the teacher's, of which ``labels`` can be learnt,
    and ``surprise`` says how unlike the others each is, as in ``distill.students.novelty``;
    ``instructions`` as in ``by_instruction``.
    """
    known, edges = set(labels), length_edges(texts)
    ages = [_AGES[len(_AGES) * place // len(texts)] for place in range(len(texts))]
    learnt = [answer if answer in known else REST for answer in answers]
    return [
        *_slices("length", lengths(texts, edges), length_names(edges)),
        *_slices("language", [language(text) for text in texts]),
        *_slices("topic", topics(texts)),
        *_slices("age", ages, _AGES),
        *_slices("rarity", rarities(surprise), RARITIES),
        *by_instruction(instructions),
        *_slices("answer", learnt),
    ]


def by_instruction(instructions: Sequence[str] | None) -> list[Slice]:
    """The slices of n requests by their ``instructions`` [n]; none where these are None, not told
    apart."""
    return [] if instructions is None else _slices("instruction", instructions)


def _slices(kind: Kind, found: Sequence[str], order: Sequence[str] = ()) -> list[Slice]:
    """A slice of the requests of each name, of those ``found`` [n], that enough of them have, and
    one of all others together, those that are called ``REST`` already among them. In that
    ``order``; without one, the largest first. Nothing where all are in one."""
    sizes = Counter(found)
    names = order or [name for name, _ in sizes.most_common()]
    enough = [name for name in names if sizes[name] >= LEAST and name != REST]
    # Not by numpy's own texts, which lose null characters at their ends.
    place = {name: i for i, name in enumerate(enough)}
    places = np.array([place.get(name, -1) for name in found])
    slices = [Slice(kind, name, places == i) for name, i in place.items()]
    others = places < 0
    if others.any():
        slices.append(Slice(kind, REST, others))
    return slices if len(slices) > 1 else []


def topics(texts: Sequence[str]) -> list[str]:
    """The topic of each text, named by its most telling words: k-means on hashed words."""
    # Only here: most commands that read a data set do without topics, and start at once.
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    count = min(_TOPICS, len(texts) // _TOPIC_SIZE)
    if count < 2:
        return ["all"] * len(texts)
    words = HashingVectorizer(n_features=_TOPIC_FEATURES, alternate_sign=False, norm=None)
    features = TfidfTransformer(sublinear_tf=True).fit_transform(words.transform(texts))
    features = features.astype(np.float32)
    rows = np.random.default_rng(_SEED).permutation(len(texts))[:_TOPIC_ROWS]
    sample = features[rows].toarray()
    count = min(count, len({row.tobytes() for row in sample}))
    # On a busy machine threads that wait for each other are many times slower than one.
    with threadpool_limits(1):
        found = KMeans(count, n_init=1, max_iter=20, random_state=_SEED).fit(sample)
    centres = found.cluster_centers_
    places = (features @ centres.T - (centres**2).sum(axis=1) / 2).argmax(axis=1)
    names = _topic_names([set(text.lower().split()) for text in texts], places)
    return [names[place] for place in places.tolist()]


def _topic_names(words: Sequence[set[str]], places: npt.NDArray[np.int64]) -> dict[int, str]:
    """For each topic the words that its texts have more often than the others'."""
    overall = Counter(
        word for each in words for word in each if word.isalpha() and word not in FREQUENT
    )
    names = {}
    for place in np.unique(places).tolist():
        rows = np.flatnonzero(places == place).tolist()
        own = Counter(word for row in rows for word in words[row] if word in overall)
        lift = {
            word: seen / len(rows) - (overall[word] - seen) / max(1, len(words) - len(rows))
            for word, seen in own.items()
        }
        telling = sorted(lift, key=lambda word: (-lift[word], word))[:_TOPIC_WORDS]
        names[place] = " ".join(telling) or f"topic {place + 1}"
    return names
