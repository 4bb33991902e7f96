"""The form of answers that are JSON objects with enumerated fields.

A task whose answers have too many different wordings for a label each may still say one of a few
things in every field. What the fields are, how the teacher writes them, and what an answer says in
each of them is found here; objects within objects are taken apart as well, lists are not.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

_Path = tuple[str, ...]
"""The keys that lead to a field."""

_DECODER = json.JSONDecoder()
_BLANK = " \t\n\r"

MOST_FIELDS = 16
"""An object with more is no form: each field takes a classifier of its own."""


@dataclass(frozen=True, slots=True)
class Form:
    """How the teacher writes its objects."""

    paths: tuple[_Path, ...]
    """Where each of the fields is, in the teacher's order."""
    pieces: tuple[str, ...]
    """[fields + 1]: what stands before, between and after their values."""
    wordings: tuple[dict[str, str], ...]
    """How the values of each field are written most often, by ``canonical``."""

    def read(self, answer: str) -> tuple[str, ...] | None:
        """What ``answer`` says in each field, in the form's wording; None where it is an object of
        other fields, or none. Keys may be in any order."""
        found = _take_apart(answer)
        if found is None or len(found.values) != len(self.paths):
            return None
        values = dict(zip(found.paths, found.values, strict=True))
        if values.keys() != set(self.paths):
            return None
        raw = [values[path] for path in self.paths]
        return tuple(
            wording.get(canonical(value), value)
            for wording, value in zip(self.wordings, raw, strict=True)
        )

    def name(self, field: int) -> str:
        """The path of a field in words."""
        return ".".join(self.paths[field])


def find(answers: Sequence[str]) -> Form | None:
    """The form that most of ``answers`` have; None where these are no objects with fields."""
    read = [found for answer in answers if (found := _take_apart(answer)) is not None]
    if 2 * len(read) <= len(answers):
        return None
    (paths, pieces), _ = Counter((one.paths, one.pieces) for one in read).most_common(1)[0]
    if not 0 < len(paths) == len(set(paths)) <= MOST_FIELDS:
        return None
    counts: dict[_Path, Counter[str]] = defaultdict(Counter)
    for one in read:
        for path, value in zip(one.paths, one.values, strict=True):
            counts[path][value] += 1
    wordings = []
    for path in paths:
        wording: dict[str, str] = {}
        for value, _ in counts[path].most_common():
            wording.setdefault(canonical(value), value)
        wordings.append(wording)
    return Form(paths, pieces, tuple(wordings))


def write(pieces: Sequence[str], values: Sequence[str]) -> str:
    """The answer with these ``values`` [fields] between its ``pieces`` [fields + 1]."""
    return "".join(chain.from_iterable(zip_longest(pieces, values, fillvalue="")))


def canonical(value: str) -> str:
    """The JSON text ``value`` as it is written if nothing else matters."""
    return json.dumps(json.loads(value), sort_keys=True)


@dataclass(frozen=True, slots=True)
class _Apart:
    """An answer that has an object in it, taken apart."""

    paths: tuple[_Path, ...]
    pieces: tuple[str, ...]
    values: tuple[str, ...]


def _take_apart(answer: str) -> _Apart | None:
    """None where there is no whole object in ``answer``. What stands around it is left as it is,
    for many a model puts a fence there."""
    start = answer.find("{")
    if start < 0:
        return None
    try:
        spans = list(_spans(answer, _Place(start), ()))
    except (ValueError, IndexError, RecursionError):
        return None
    pieces, at = [], 0
    for _, begin, end in spans:
        pieces.append(answer[at:begin])
        at = end
    return _Apart(
        tuple(path for path, _, _ in spans),
        (*pieces, answer[at:]),
        tuple(answer[begin:end] for _, begin, end in spans),
    )


@dataclass(slots=True)
class _Place:
    at: int

    def skip(self, text: str) -> str:
        """Go to the next character that is no blank, and return it. Raises IndexError."""
        while text[self.at] in _BLANK:
            self.at += 1
        return text[self.at]

    def take(self, text: str, character: str) -> None:
        """Go beyond ``character``, which comes next. Raises ValueError, IndexError."""
        if self.skip(text) != character:
            raise ValueError(f"{character} expected")
        self.at += 1

    def decode(self, text: str) -> Any:
        """Go beyond the JSON value that comes next, and return it. Raises ValueError."""
        self.skip(text)
        value, self.at = _DECODER.raw_decode(text, self.at)
        return value


def _spans(text: str, place: _Place, above: _Path) -> Iterator[tuple[_Path, int, int]]:
    """Where the values are of the object that begins at ``place``, which is moved beyond it."""
    place.take(text, "{")
    while place.skip(text) != "}":
        key = place.decode(text)
        if not isinstance(key, str):
            raise ValueError("a key is a string")
        place.take(text, ":")
        if place.skip(text) == "{":
            yield from _spans(text, place, (*above, key))
        else:
            begin = place.at
            place.decode(text)
            yield (*above, key), begin, place.at
        if place.skip(text) != "}":
            place.take(text, ",")
    place.take(text, "}")
