"""The tokens of a text, and the hashed features that each is classified by.

An exported student that copies carries this file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np
import numpy.typing as npt

BUCKETS = 1 << 17
MOST = 400
"""Tokens of a text that are looked at."""

# Numbers, addresses and codes are one token each.
_TOKEN = re.compile(r"\w+(?:[-'’.,@/:+]\w+)*|[^\w\s]")
_DIGITS, _UPPER, _LOWER = re.compile(r"\d"), re.compile(r"[^\W\d_a-z]"), re.compile(r"[a-z]")
_AGAIN = re.compile(r"(.)\1+")
_FEATURES = 19
_EDGE = 3
"""Tokens from an end of the text at which it matters how far that is."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The first tokens of a text, and where each is."""

    text: str
    words: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> Tokens:
        found = [match for match, _ in zip(_TOKEN.finditer(text), range(MOST), strict=False)]
        return cls(
            text,
            tuple(match[0] for match in found),
            tuple(match.start() for match in found),
            tuple(match.end() for match in found),
        )

    def __len__(self) -> int:
        return len(self.words)

    def surface(self, first: int, last: int) -> str:
        """The text from one token to another, both included."""
        return self.text[self.starts[first] : self.ends[last]]

    def spans(self, surface: str) -> list[tuple[int, int]]:
        """The first and the last token of each place where ``surface`` stands, whole tokens."""
        at = self.text.find(surface) if surface else -1
        if at < 0:
            return []
        first = {start: i for i, start in enumerate(self.starts)}
        last = {end: i for i, end in enumerate(self.ends)}
        found = []
        while at >= 0:
            if at in first and at + len(surface) in last:
                found.append((first[at], last[at + len(surface)]))
            at = self.text.find(surface, at + 1)
        return found


def features(words: Sequence[str]) -> npt.NDArray[np.int64]:
    """[n, features]: the buckets that each of n tokens is in: by what it is, by its neighbours, by
    how often the text has it, and by how far it is from the text's ends."""
    lower = ["<<", "<", *(word.lower() for word in words), ">", ">>"]
    shapes = ["<<", "<", *map(_shape, words), ">", ">>"]
    times = Counter(lower)
    count = len(words)
    rows = []
    for place in range(count):
        i = place + 2
        before2, before, word, after, after2 = lower[i - 2 : i + 3]
        shape = shapes[i]
        rows.append(
            (
                f"w {word}",
                f"s {shape}",
                f"p {word[:3]}",
                f"e {word[-3:]}",
                f"-1 {before}",
                f"-2 {before2}",
                f"+1 {after}",
                f"+2 {after2}",
                f"-10 {before} {word}",
                f"01 {word} {after}",
                f"-2-1 {before2} {before}",
                f"12 {after} {after2}",
                f"s-1 {shapes[i - 1]} {shape}",
                f"s1 {shape} {shapes[i + 1]}",
                f"-1s {before} {shape}",
                f"-2s {before2} {before} {shape}",
                f"n {min(times[word], 3)}",
                f"a {min(place, _EDGE)} {shape}",
                f"z {min(count - 1 - place, _EDGE)} {shape}",
            )
        )
    hashed = [[_bucket(feature) for feature in row] for row in rows]
    return np.array(hashed, dtype=np.int64).reshape(count, _FEATURES)


def _bucket(feature: str) -> int:
    # JSON may escape half a character.
    return crc32(feature.encode("utf-8", "surrogatepass")) % BUCKETS


@lru_cache(maxsize=4096)
def _shape(word: str) -> str:
    """What it looks like: "Xx" for a name, "X-9" for a code."""
    plain = _DIGITS.sub("9", _UPPER.sub("X", word))
    return _AGAIN.sub(r"\1", _LOWER.sub("x", plain))
