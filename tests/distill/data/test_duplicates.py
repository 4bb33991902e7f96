"""Near-duplicates: what is alike is in one group, and no test parts a group."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distill.data.dataset import build
from distill.data.duplicates import groups
from distill.students import label
from distill.students.fitting import frequent_labels
from tests.distill.synthetic import WORDS, exchanges, stream

WORDLIST = [f"word{i:03}x" for i in range(500)]


def letters(count, seed=0):
    """Texts of forty words drawn blindly."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDLIST, k=40)) for _ in range(count)]


def test_what_is_alike_is_in_one_group():
    texts = letters(200)
    changed = [text.replace(text.split()[7], "other") for text in texts[:20]]
    found = groups(texts + changed)
    assert found[200:] == found[:20]
    assert len(set(found)) == 200


def test_case_and_space_are_trifles():
    first, again, other = groups(["Where is my parcel?", " where IS my\nparcel?", "No idea"])
    assert first == again != other


def test_words_that_all_texts_have_make_none_alike():
    tail = " Answer with one of: " + " ".join(WORDLIST[:60])
    texts = [text + tail for text, _ in stream(100)]
    assert len(set(groups(texts))) == 100


@given(st.lists(st.text(max_size=30), max_size=30))
def test_groups_are_numbered_as_they_come_and_do_not_depend_on_the_order(texts):
    found = groups(texts)
    assert len(found) == len(texts)
    assert list(dict.fromkeys(found)) == list(range(len(set(found))))
    there = dict(zip(texts, found, strict=True))
    back = dict(zip(texts[::-1], groups(texts[::-1]), strict=True))
    for one in texts:
        for other in texts:
            assert (there[one] == there[other]) == (back[one] == back[other])


def test_a_student_is_not_tested_on_what_it_saw_in_other_words():
    """Texts that say nothing of their label, each sent with small changes: known by heart, they
    would be told apart."""
    rng = random.Random(0)
    answers = [rng.choice(list(WORDS)) for _ in range(63)]
    pairs = [
        (f"{text} {tail}", answer)
        for tail in ("please", "thanks", "regards", "today")
        for text, answer in zip(letters(63), answers, strict=True)
    ]
    data = build(exchanges(pairs))
    texts = [example.text for example in data.examples]
    labels = frequent_labels([answer for _, answer in pairs])

    def share_right(**how):
        trained = label.train(texts, [answer for _, answer in pairs], labels, **how)
        return np.mean(trained.agreed)

    assert share_right() > 0.9
    assert share_right(groups=[example.group for example in data.examples]) < 0.6
