"""The parts of a task's evidence that are looked at on their own.

By what is known of a request before anybody answers it: its length, language, topic, age and
rarity; by the teacher's answer; and by what a student says. The long tail is the strangest tenth
of the requests, and those whose answers are too rare to be learnt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from threadpoolctl import threadpool_limits

from distill.evaluation.language import FREQUENT, language
from distill.evaluation.strata import LEAST, length_edges
from distill.evaluation.telling import RARITIES, REST, length_names, rarities

Kind = Literal["all", "temporal", "length", "language", "topic", "age", "rarity", "answer"]
"""``all`` are all requests; ``answer`` is the teacher's, which is known only afterwards."""

Mask = npt.NDArray[np.bool_]

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
) -> list[Slice]:
    """The slices of n requests, oldest first.

    ``texts`` are what varies of them, ``answers`` the teacher's, of which ``labels`` can be learnt,
    and ``surprise`` says how unlike the others each is, as in ``distill.students.novelty``.
    """
    known = set(labels)
    return [
        *_slices("length", *_lengths(texts)),
        *_slices("language", *_by_size([language(text) for text in texts])),
        *_slices("topic", *_by_size(topics(texts))),
        *_slices("age", *_ages(len(texts))),
        *_slices("rarity", *_rarities(surprise)),
        *_slices("answer", *_by_size([answer if answer in known else REST for answer in answers])),
    ]


def _slices(kind: Kind, names: Sequence[str], places: Sequence[int]) -> list[Slice]:
    """A slice for each of the ``names`` that enough requests have, and one of all others together,
    those that are called ``REST`` already among them; ``places`` [n] say which name each has.
    Nothing where all have the same."""
    found = np.asarray(places)
    few = np.bincount(found, minlength=len(names)) < LEAST
    few |= np.asarray(names) == REST
    slices = [Slice(kind, names[i], found == i) for i in np.flatnonzero(~few).tolist()]
    if few[found].any():
        slices.append(Slice(kind, REST, few[found]))
    return slices if len(slices) > 1 else []


def _by_size(values: Sequence[str]) -> tuple[list[str], list[int]]:
    """The different values, the most frequent first, and which of them each is."""
    names = [value for value, _ in Counter(values).most_common()]
    place = {name: i for i, name in enumerate(names)}
    return names, [place[value] for value in values]


def _lengths(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Quarters, by the number of characters."""
    edges = length_edges(texts)
    lengths = [len(text) for text in texts]
    return length_names(edges), np.searchsorted(edges, lengths, side="left").tolist()


def _ages(count: int) -> tuple[list[str], list[int]]:
    names = ["oldest quarter", "second quarter", "third quarter", "newest quarter"]
    return names, [4 * place // count for place in range(count)]


def _rarities(surprise: npt.NDArray[np.float64]) -> tuple[list[str], list[int]]:
    found = rarities(surprise)
    return list(RARITIES), [RARITIES.index(name) for name in found]


def topics(texts: Sequence[str]) -> list[str]:
    """The topic of each text, named by its most telling words: k-means on hashed words."""
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
