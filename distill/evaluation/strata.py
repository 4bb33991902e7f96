"""Requests of a task divided by one thing that is known of them before anybody answers.

Where an operator asks for it (``policy.by_slice``), each of these slices must keep the promise on
its own, so that a long tail cannot hide in the average. For that a serving student has to tell
which of them a request is in: that of its length, its language, or how rare it is.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from config.settings import SliceKind
from distill.evaluation import telling
from distill.evaluation.language import language
from distill.evaluation.telling import REST
from distill.students import novelty
from distill.students.novelty import Novelty
from policies.ngrams import count_ngrams

LEAST = 20
"""Requests that make a slice; a lesser part is left to the others of its kind."""

_FILE, _ARRAYS = "strata.json", "strata.npz"


@dataclass(frozen=True, slots=True)
class Strata:
    """How requests are divided."""

    kind: SliceKind
    names: tuple[str, ...]
    """Those that have enough requests; all others are ``REST``."""
    edges: tuple[int, ...] = ()
    """Of lengths, in characters."""
    novelty: Callable[[sparse.csr_matrix], novelty.Array] | None = None
    """What tells how rare requests are, from their n-gram counts."""

    @classmethod
    def fit(cls, kind: SliceKind, texts: Sequence[str]) -> tuple[Strata, list[str]]:
        """The division of ``texts`` [n], what varies of a task's requests, and the name of the
        slice [n] that each is in. How rare one is, the others tell."""
        edges: tuple[int, ...] = ()
        new = None
        if kind == "length":
            edges = length_edges(texts)
            found = telling.lengths(texts, edges)
        elif kind == "language":
            found = [language(text) for text in texts]
        else:
            new, surprise = novelty.fit(texts, count_ngrams(texts))
            found = telling.rarities(surprise)
        names = tuple(name for name, count in Counter(found).items() if count >= LEAST)
        strata = cls(kind, names, edges, new)
        return strata, strata._enough(found)

    def of(self, texts: Sequence[str]) -> list[str]:
        """The name of the slice [n] that each of other ``texts`` [n], one or more, is in."""
        if self.kind == "length":
            return self._enough(telling.lengths(texts, self.edges))
        if self.kind == "language":
            return self._enough([language(text) for text in texts])
        assert self.novelty is not None, "what is rare is told by what was seen"
        return self._enough(telling.rarities(self.novelty(count_ngrams(texts))))

    def _enough(self, found: Sequence[str]) -> list[str]:
        return [name if name in self.names else REST for name in found]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request stands in its task."""

    stratum: str | None
    """Its slice; None where slices do not matter."""
    floor: float
    """The least confidence at which a student answers it; infinite where the teacher does."""


@dataclass(frozen=True, slots=True)
class Floors:
    """The least confidence at which a student answers the requests of each slice."""

    strata: Strata
    thresholds: Mapping[str, float]
    """By the slice's name. Those that are not here are left to the teacher."""

    def of(self, text: str) -> Place:
        """Where a varying ``text`` stands."""
        (name,) = self.strata.of([text])
        return Place(name, self.thresholds.get(name, math.inf))

    def save(self, folder: Path) -> None:
        """Write them to files of their own in ``folder``."""
        strata = self.strata
        found = {
            "kind": strata.kind,
            "names": strata.names,
            "edges": strata.edges,
            "thresholds": dict(self.thresholds),
        }
        text = json.dumps(found, ensure_ascii=False, indent=1)
        (folder / _FILE).write_text(text, encoding="utf-8")
        if strata.novelty is not None:
            assert isinstance(strata.novelty, Novelty), "an exported ladder stays as it is"
            np.savez(folder / _ARRAYS, allow_pickle=False, **novelty.to_arrays(strata.novelty))

    @classmethod
    def load(cls, folder: Path) -> Floors | None:
        """What ``save`` wrote; None where there are none. Raises OSError, KeyError, ValueError."""
        if not (folder / _FILE).exists():
            return None
        found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        new = None
        if found["kind"] == "rarity":
            with np.load(folder / _ARRAYS) as arrays:
                new = novelty.from_arrays(arrays)
        strata = Strata(found["kind"], tuple(found["names"]), tuple(found["edges"]), new)
        return cls(strata, found["thresholds"])


def length_edges(texts: Sequence[str]) -> tuple[int, ...]:
    """Where the quarters of ``texts`` end, in characters; fewer where many are as long."""
    lengths = np.array([len(text) for text in texts])
    edges = np.unique(np.quantile(lengths, (0.25, 0.5, 0.75), method="higher"))
    return tuple(edges.tolist())
