"""Students that copy their answers from the request."""

import json
import math
import random
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import PolicySettings
from distill.data.dataset import build
from distill.evaluation.temporal import newest
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from distill.runs.own_encoder import tune
from distill.students.extraction.answers import find
from distill.students.extraction.decoding import likeliest
from distill.students.extraction.rung import ExtractionRung
from distill.students.extraction.shape import Extraction, Slot
from distill.students.extraction.tokens import MOST, Tokens, features
from distill.students.extraction.training import train
from distill.students.ladder import Ladder
from policies.agreement import agree
from telemetry.exchange import TaskState
from tests.distill.synthetic import exchanges, stream

FIRST = ("Anna", "Bob", "Carla", "Dmitri", "Eve", "Farid", "Gita", "Hugo", "Ines", "Jamal", "Kira")
LAST = ("Smith", "Jones", "Okafor", "Garcia", "Ivanova", "Tanaka", "Rossi", "Silva", "Khan", "Berg")
THINGS = ("parcel", "invoice", "refund")
WAYS = (
    "Hello, {name} here. My {thing} for order {order} has not come.",
    "I am {name}; where is the {thing} of {order}?",
    "Order {order} is wrong, please fix the {thing}. Regards, {name}",
    "Could you check {thing} {order}? Thanks, {name}",
)


def letters(count, seed=0):
    """What each letter says, and the letter."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        said = {
            "name": f"{rng.choice(FIRST)} {rng.choice(LAST)}",
            "order": f"{rng.choice('ABCDEF')}{rng.randint(1000, 99999)}",
            "thing": rng.choice(THINGS),
        }
        found.append((said, rng.choice(WAYS).format(**said)))
    return found


def orders(count, seed=0):
    return [(text, said["order"]) for said, text in letters(count, seed)]


def objects(count, seed=0):
    return [(text, json.dumps(said)) for said, text in letters(count, seed)]


def trained(pairs):
    texts, answers = zip(*pairs, strict=True)
    found = find(texts, answers)
    assert found is not None
    return train(texts, answers, found, range(len(texts)))


@given(st.text(max_size=80))
def test_a_token_is_found_where_it_stands(text):
    tokens = Tokens.of(text)
    for i, word in enumerate(tokens.words):
        assert tokens.surface(i, i) == word
        assert (i, i) in tokens.spans(word)
    assert features(tokens.words).shape[0] == len(tokens)


def test_half_a_character_is_read():
    assert features(Tokens.of("a\ud800b c").words).shape[0] > 0


def test_what_is_no_whole_token_does_not_stand_there():
    tokens = Tokens.of("Order A-123, not A-1234: a@b.example paid 12.50.")
    assert tokens.spans("A-123") == [(1, 1)]
    assert tokens.spans("b.example") == []
    assert "12.50" in tokens.words
    assert tokens.spans("") == []


def test_a_long_text_is_read_from_its_beginning():
    tokens = Tokens.of("word " * 2 * MOST)
    assert len(tokens) == MOST


@given(
    st.lists(st.tuples(*[st.floats(-4, 4)] * 3), min_size=1, max_size=5),
    st.integers(1, 3),
    st.booleans(),
)
def test_the_likeliest_span_is_that_of_all_taggings(scores, longest, may_be_none):
    """By going through every span, and none, one by one."""
    told = np.array(scores)
    told -= np.log(np.exp(told).sum(axis=1, keepdims=True))
    count = len(told)
    tokens = Tokens.of(" ".join("abcde"[:count]))
    slot = Slot("plain", "-" if may_be_none else None, longest)
    p = np.exp(told)
    odds: dict[str | None, float] = {None: 1.0} if may_be_none else {}
    for first, last in product(range(count), repeat=2):
        if first <= last < first + longest:
            rest = [1 - p[i, 1] - p[i, 2] for i in range(first, last + 1)]
            inside = p[first, 1] * math.prod(p[i, 2] for i in range(first + 1, last + 1))
            stops = 1 - p[last + 1, 2] if last + 1 < count else 1.0
            odds[tokens.surface(first, last)] = inside * stops / math.prod(rest)
    best, share = likeliest(tokens, told, 1, slot)
    assert share == pytest.approx(max(odds.values()) / sum(odds.values()), rel=1e-6)
    assert odds[best] == pytest.approx(max(odds.values()), rel=1e-6)


def test_what_stands_twice_is_as_likely_as_both():
    told = np.log([[0.5, 0.4, 0.1], [0.4, 0.5, 0.1], [0.5, 0.4, 0.1]])
    best, share = likeliest(Tokens.of("a b a"), told, 1, Slot("plain", None, 1))
    assert best == "a"
    assert share > 0.5


def test_of_a_text_without_tokens_nothing_is_copied():
    told = np.zeros((0, 3))
    assert likeliest(Tokens.of(""), told, 1, Slot("plain", "none", 2)) == (None, 1.0)
    assert likeliest(Tokens.of(""), told, 1, Slot("plain", None, 2)) == (None, 0.0)


def test_a_code_is_a_slot():
    found = find(*zip(*orders(100), strict=True))
    assert found is not None
    assert found.extraction == Extraction(("", ""), (Slot("plain", None, 1),))
    assert found.cover == 1.0


def test_fields_are_copied_or_one_of_a_few():
    found = find(*zip(*objects(300), strict=True))
    assert found is not None
    name, order, thing = found.extraction.fields
    assert name == Slot("string", None, 2)
    assert order == Slot("string", None, 1)
    assert isinstance(thing, tuple)
    assert set(thing) == {f'"{one}"' for one in THINGS}
    assert Extraction.from_json(json.loads(json.dumps(found.extraction.as_json()))) == (
        found.extraction
    )


def test_numbers_are_copied_as_they_stand():
    texts = [f"They paid {1000 + i}.5 for {i} of them" for i in range(60)]
    found = find(texts, [json.dumps({"paid": 1000.5 + i}) for i in range(60)])
    assert found is not None
    (slot,) = found.extraction.fields
    assert isinstance(slot, Slot)
    assert slot.kind == "number"
    assert slot.fits("12.5")
    assert not any(slot.fits(other) for other in ("paid", "true", "007", '"1"'))


def test_labels_are_no_slots():
    assert find(*zip(*stream(100), strict=True)) is None
    said = [f"essay {i}" for i in range(100)]
    assert find([text for text, _ in stream(100)], said) is None


def test_new_values_are_copied_and_what_is_not_there_is_said():
    pairs = [
        (text.replace(answer, "it"), "none") if i % 4 == 0 else (text, answer)
        for i, (text, answer) in enumerate(orders(500))
    ]
    made = trained(pairs)
    assert made.agreed.mean() > 0.97
    fresh = orders(80, seed=7)
    known = {answer for _, answer in pairs}
    said = made.rung.predict([text for text, _ in fresh])
    right = [one.answer == answer for one, (_, answer) in zip(said, fresh, strict=True)]
    assert sum(answer not in known for _, answer in fresh) > 70
    assert np.mean(right) > 0.95
    (nothing,) = made.rung.predict(["Hello, Anna Berg here. My refund for order it has not come."])
    assert nothing.answer == "none"


def test_a_rung_is_kept(tmp_path):
    made = trained(objects(300))
    made.rung.save(tmp_path)
    kept = ExtractionRung.load(tmp_path)
    fresh = [text for text, _ in objects(20, seed=3)]
    assert kept.predict(fresh) == made.rung.predict(fresh)
    assert kept.predict([]) == []
    said = [json.loads(one.answer) for one in kept.predict(fresh)]
    assert np.mean([one == told for one, (told, _) in zip(said, letters(20, 3), strict=True)]) > 0.9


def test_a_rung_is_as_sure_as_it_is_right():
    """One answer in five is another code than the one that is asked for: nothing tells which."""
    rng = random.Random(1)
    pairs = [
        (f"{text} (was {answer[::-1]})", answer[::-1] if rng.random() < 0.2 else answer)
        for text, answer in orders(600)
    ]
    made = trained(pairs)
    assert made.agreed.mean() == pytest.approx(0.8, abs=0.06)
    assert made.confidences.mean() == pytest.approx(made.agreed.mean(), abs=0.04)


@pytest.mark.parametrize("make", [orders, objects])
def test_a_task_that_asks_for_what_stands_there_gets_a_student(tmp_path, make):
    data = build(exchanges(make(400)))
    result = retrain(Challenge("v1", data, TaskState("support"), PolicySettings()))
    assert result.verdict.promoted, result.verdict.reason
    assert result.rungs == ("extraction",)
    assert result.verdict.share > 0.8
    assert result.ladder is not None
    assert result.report is not None
    assert any(each.kind == "temporal" for each in result.report.slices)
    result.ladder.save(tmp_path)
    student = Ladder.load(tmp_path)
    fresh = [text for text, _ in make(20, 9)]
    assert student.predict(fresh) == result.ladder.predict(fresh)
    # The next is measured by it.
    more = build(exchanges(make(600)))
    again = retrain(Challenge("v2", more, TaskState("support"), PolicySettings(), student))
    assert "the champion" in again.verdict.reason


@pytest.mark.parametrize("make", [orders, objects])
def test_imported_pairs_alone_make_a_student_that_copies_for_whoever_insists(make):
    rows = [replace(row, route="imported") for row in exchanges(make(300))]
    result = retrain(Challenge("v1", build(rows), TaskState("support"), PolicySettings()))
    assert result.verdict.reason.startswith("no evidence")
    assert not result.verdict.promoted
    assert (result.rungs, result.labels) == (("extraction",), ())
    assert result.ladder is not None
    assert result.ladder.promise is None
    fresh = make(20, 9)
    said = result.ladder.predict([text for text, _ in fresh])
    right = [agree(one.answer, told) for one, (_, told) in zip(said, fresh, strict=True)]
    assert np.mean(right) > 0.9


def test_no_refusal_is_learnt():
    refusal = "I'm sorry, but I can't assist with that."
    pairs = [
        (text.replace(answer, "a bomb"), refusal) if i % 4 == 0 else (text, answer)
        for i, (text, answer) in enumerate(orders(400))
    ]
    data = build(exchanges(pairs))
    result = retrain(Challenge("v1", data, TaskState("support"), PolicySettings()))
    assert result.rungs == ("extraction",)
    assert result.ladder is not None
    (rung,) = result.ladder.rungs
    assert isinstance(rung, ExtractionRung)
    assert rung.extraction.fields == (Slot("plain", None, 1),)
    # Nor by the student of older answers that the newest are put to.
    late = newest(data, [rung], [refusal])
    assert late is not None
    assert (late.said < 0).all()
    # They are evidence.
    right = late.outcomes.agreed
    assert 0.7 < right.mean() < 0.8


def test_no_encoder_is_tuned_to_what_is_copied(tmp_path):
    """Not even where a few of the answers are frequent."""
    pairs = [
        (text, "none") if i % 3 == 0 else (text, answer)
        for i, (text, answer) in enumerate(orders(600))
    ]
    untouched: Any = None
    state = TaskState("support")
    assert tune(state, 600, build(exchanges(pairs)), 0.05, untouched, tmp_path, cpu_s=60) is None


def test_a_task_of_few_labels_is_not_copied():
    rows = exchanges([(f"{text} {answer}", answer) for text, answer in stream(400)])
    data = build(rows)
    result = retrain(Challenge("v1", data, TaskState("support"), PolicySettings()))
    assert result.rungs == ("ngram",)


def test_what_stands_in_a_request_may_be_told_by_what_else_does():
    """All colours stand in every request, in any order: which it is, a word far from it says."""
    rng = random.Random(0)
    said = {"sky": "blue", "grass": "green", "blood": "red", "snow": "white"}
    pairs = []
    for i in range(500):
        colours = rng.sample(sorted(said.values()), len(said))
        about = f"A{i}" if i % 10 == 0 else rng.choice(sorted(said))
        pairs.append(
            (f"{' '.join(colours)} and {rng.randrange(99)}: {about}", said.get(about, about))
        )
    data = build(exchanges(pairs))
    found = find([text for text, _ in pairs], [answer for _, answer in pairs])
    assert found is not None
    assert found.cover == 1.0
    result = retrain(Challenge("v1", data, TaskState("support"), PolicySettings()))
    assert result.verdict.promoted, result.verdict.reason
    assert result.rungs == ("ngram",)
    assert set(said.values()) <= set(result.labels)
    seed = build([replace(row, route="imported") for row in exchanges(pairs)])
    untested = retrain(Challenge("v1", seed, TaskState("support"), PolicySettings()))
    assert untested.rungs == ("ngram",)
    assert untested.labels == result.labels
