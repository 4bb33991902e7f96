"""Hashes of word and character n-grams, in array operations on many texts at once, so that one
alone takes little time as well.

It needs numpy and xxhash alone: an exported student carries this file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xxhash

_BITS = 17
BUCKETS = 2**_BITS
"""Hash buckets for each of the two kinds of n-grams."""

_LONGEST = 8000
"""Characters that are read of a text: its first and its last half of that."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_LONGEST_GRAM = 5
"""Characters of the longest character n-gram; the shortest has 2."""

# Odd, without a pattern: hashes are sums of products with powers of it, modulo 2**64, of which the
# highest bits tell apart best (multilinear hashing, Lemire and Kaser 2014).
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

Integers = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]


def hashed(texts: Sequence[str]) -> tuple[Rows, Rows]:
    """The bucket of every word 1-2-gram and character 2-5-gram within words of ``texts``, and the
    row of the text that it comes from: both [n-grams].

    Buckets of characters come after all of those of words: they begin at ``BUCKETS``.
    """
    clipped = [_clip(text) for text in texts]
    words, word_rows = _words(clipped)
    characters, character_rows = _characters(clipped)
    buckets = np.concatenate([_bucket(words), _bucket(characters) + BUCKETS])
    return buckets, np.concatenate([word_rows, character_rows])


def count(text: str) -> tuple[Rows, Rows]:
    """The buckets of one text's n-grams in order, each once, and how many are in each: both [m]."""
    buckets, counts = np.unique(hashed([text])[0], return_counts=True)
    return buckets, counts


def _clip(text: str) -> str:
    half = _LONGEST // 2
    clipped = text if len(text) <= _LONGEST else f"{text[:half]} {text[-half:]}"
    return clipped.lower()


def _words(texts: Sequence[str]) -> tuple[Integers, Rows]:
    """Hashes of all words and pairs of neighbours, and the texts that they come from."""
    tokens = [_TOKEN.findall(text) for text in texts]
    rows = np.repeat(np.arange(len(texts)), [len(found) for found in tokens])
    digest = xxhash.xxh3_64_intdigest
    words = np.array(
        [digest(token.encode("utf-8", "surrogatepass")) for found in tokens for token in found],
        dtype=np.uint64,
    )
    neighbours = rows[:-1] == rows[1:]
    pairs = (words[:-1] * _FACTOR + words[1:])[neighbours]
    return np.concatenate([words, pairs]), np.concatenate([rows, rows[:-1][neighbours]])


def _characters(texts: Sequence[str]) -> tuple[Integers, Rows]:
    """Hashes of all character n-grams, and the texts that they come from.

    A space before and after each word is part of it.
    """
    padded = [" ".join(["", *text.split(), ""]) for text in texts]
    encoded = "".join(padded).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(encoded, dtype=np.uint32).astype(np.uint64)
    rows = np.repeat(np.arange(len(texts)), [len(text) for text in padded])
    space = codes == ord(" ")
    # Which n-grams lie within one word: a space can only be at their ends, and two neighbouring
    # spaces part two texts.
    inside = ~(space[:-1] & space[1:])
    hashes, found, found_rows = codes, [], []
    for length in range(2, _LONGEST_GRAM + 1):
        hashes = hashes[:-1] * _FACTOR + codes[length - 1 :]
        found.append(hashes[inside])
        found_rows.append(rows[: len(inside)][inside])
        inside = inside[:-1] & ~space[length - 1 : -1]
    return np.concatenate(found), np.concatenate(found_rows)


def _bucket(hashes: Integers) -> Rows:
    return (hashes * _FACTOR >> np.uint64(64 - _BITS)).astype(np.int64)
