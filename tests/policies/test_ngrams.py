"""N-grams: which there are, and that a text has the same features in whatever company."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import ngrams
from policies.ngrams import TfIdf, count_ngrams

texts = st.lists(st.text(st.characters(exclude_categories=()), max_size=60), min_size=1, max_size=8)


def words(text: str) -> list[str]:
    """All word 1-2-grams, spelt out."""
    tokens = re.findall(r"\w+|[^\w\s]", text.lower())
    return tokens + [f"{one} {two}" for one, two in pairwise(tokens)]


def characters(text: str) -> list[str]:
    """All character 2-5-grams of the padded words, spelt out."""
    padded = [f" {word} " for word in text.lower().split()]
    return [
        word[start : start + length]
        for word in padded
        for length in range(2, 6)
        for start in range(len(word) - length + 1)
    ]


def kinds(text: str) -> tuple[np.ndarray, np.ndarray]:
    """The counts of a text's word n-grams and of its character n-grams, one entry a bucket."""
    row = count_ngrams([text])
    is_word = row.indices < row.shape[1] // 2
    return row.data[is_word], row.data[~is_word]


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_all_ngrams_are_counted(text: str) -> None:
    for counted, grams in zip(kinds(text), (words(text), characters(text)), strict=True):
        assert counted.sum() == len(grams)
        assert len(counted) <= len(set(grams))


@pytest.mark.parametrize(
    "text", ["", "a", "a b a b", "Hello, hello world!", "ẞ 🦓🦓 straße \ud800"]
)
def test_different_ngrams_have_different_buckets(text: str) -> None:
    for counted, grams in zip(kinds(text), (words(text), characters(text)), strict=True):
        assert sorted(counted) == sorted(Counter(grams).values())


@given(texts)
def test_company_changes_nothing(company: list[str]) -> None:
    tfidf = TfIdf.fit(count_ngrams(["the cat", "the dog", *company[::2]]))
    together = tfidf(count_ngrams(company))
    for number, text in enumerate(company):
        alone = tfidf(count_ngrams([text]))
        np.testing.assert_array_equal(together[number].toarray(), alone.toarray())


def test_more_texts_than_are_hashed_at_once() -> None:
    many = [f"ticket {number}" for number in range(2 * ngrams._BATCH + 1)]
    counts = count_ngrams(many)
    assert counts.shape[0] == len(many)
    assert (counts[-1] != count_ngrams(many[-1:])).nnz == 0


def test_only_the_ends_of_a_long_text_are_read() -> None:
    head, tail = "head " * 800, " tail" * 800
    long = count_ngrams([head + "middle " * 1000 + tail])
    assert (long != count_ngrams([f"{head} {tail}"])).nnz == 0


def test_each_kind_of_ngram_has_unit_length() -> None:
    counts = count_ngrams(["the cat sat", "the dog"])
    features = TfIdf.fit(counts)(counts)
    np.testing.assert_allclose(features.multiply(features).sum(axis=1), 2)
