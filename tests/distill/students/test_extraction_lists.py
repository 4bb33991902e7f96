"""Students that list what stands in the request."""

import json
import math
import random
from collections import Counter, defaultdict
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import PolicySettings
from distill.data.dataset import build
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from distill.students.extraction import decoding
from distill.students.extraction.answers import find
from distill.students.extraction.marking import marks
from distill.students.extraction.shape import Extraction, Series, Slot
from distill.students.extraction.tokens import MOST, Tokens
from distill.students.extraction.training import train
from distill.students.ladder import Ladder
from policies.agreement import agree
from telemetry.exchange import TaskState
from tests.distill.students.test_extraction import FIRST, LAST
from tests.distill.synthetic import exchanges

JSON = Series("[", ", ", "]", True, ("",), False, "[]")
LINES = Series("- ", "\n- ", "", False, ("",), False, "nobody")
SORTED = Series("[", ", ", "]", False, (" - PERSON", " - PLACE"), True, "none")

CITIES = ("Oslo", "Lima", "New York", "Accra", "Hanoi", "Cape Town", "Quito", "Riga")
WAYS = (
    "{} will come to {} on Monday.",
    "Please invite {} to our house in {}",
    "Hello, {} called from {} today!",
    "Tell {} that the parcel is in {}.",
)
NOTHING = ("The parcel is late.", "Nobody came on Monday.", "Please call our house again!")


def notes(count, seed=0):
    """Notes of some lines each; the people and the cities in each, in order."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        lines, people, cities = [], [], []
        for _ in range(rng.randrange(4)):
            people.append(f"{rng.choice(FIRST)} {rng.choice(LAST)}")
            cities.append(rng.choice(CITIES))
            lines.append(rng.choice(WAYS).format(people[-1], cities[-1]))
        lines.append(rng.choice(NOTHING))
        found.append((" ".join(lines), people, cities))
    return found


def once(items):
    return list(dict.fromkeys(items))


def plain(count, seed=0):
    return [(text, ", ".join(once(people)) or "nobody") for text, people, _ in notes(count, seed)]


def objects(count, seed=0):
    return [
        (text, json.dumps({"people": once(people), "many": len(people) > 1}))
        for text, people, _ in notes(count, seed)
    ]


def sorts(count, seed=0):
    said = []
    for text, people, cities in notes(count, seed):
        pairs = zip(people, cities, strict=True)
        items = [item for one, city in pairs for item in (f"{one} - PERSON", f"{city} - PLACE")]
        said.append((text, f"[{', '.join(items)}]" if items else "none"))
    return said


WORDS = st.sampled_from(["Ann", "Bob", "Ann Lee", "Lee", "and", ",", "-", "PERSON", "“", "x\ny"])


@given(st.lists(WORDS, max_size=9), st.data())
def test_what_is_marked_reads_as_what_was_said_or_nothing_is(words, data):
    tokens = Tokens.of(" ".join(words))
    series = data.draw(st.sampled_from([JSON, LINES, SORTED]))
    sort = st.integers(0, series.sorts - 1)
    items = data.draw(st.lists(st.tuples(WORDS, sort), max_size=4))
    value = series.write(items)
    found = marks(series, value, tokens)
    if found is None:
        return
    spans = [(first, last) for first, last, _ in found]
    assert all(0 <= first <= last < len(tokens) for first, last in spans)
    assert all(one[1] < other[0] for one, other in pairwise(spans))
    read = [(tokens.surface(first, last), sort) for first, last, sort in found]
    assert series.write(series.listed(read)) == value


@given(st.lists(st.tuples(st.sampled_from(FIRST), st.integers(0, 1)), max_size=5))
def test_what_stands_there_in_order_is_found(items):
    text = "; ".join(surface for surface, _ in items)
    for series in (JSON, LINES, SORTED):
        said = series.listed([(surface, sort % series.sorts) for surface, sort in items])
        found = marks(series, series.write(said), Tokens.of(text))
        assert found is not None
        assert len(found) == len(items) or series is not SORTED


@pytest.mark.parametrize(
    ("series", "value"),
    [
        (JSON, '["Bob", "Ann"]'),  # In another order.
        (JSON, '["Ann", "Ann"]'),  # Once is how often it is listed.
        (JSON, '["Ann", "Eve"]'),
        (JSON, '["Ann", 1]'),
        (JSON, '["An"]'),  # No whole token.
        (JSON, "Ann"),
        (LINES, "Ann\n- Bob"),
        (LINES, "- "),
        (SORTED, "[Ann - PERSON, Bob]"),
        (SORTED, "[Ann - PERSON, Bob - PERSON, Ann - PERSON, Ann - PERSON]"),
        (SORTED, "[]"),
    ],
)
def test_what_is_not_there_or_no_such_list_is_refused(series, value):
    assert marks(series, value, Tokens.of("Ann met Bob, and Ann left")) is None


def test_of_names_within_names_the_longer_is_marked():
    tokens = Tokens.of("Ann Lee met Ann and Ann Lee")
    assert marks(JSON, '["Ann Lee", "Ann"]', tokens) == [(0, 1, 0), (3, 3, 0), (5, 6, 0)]
    assert marks(JSON, '["Ann", "Ann Lee"]', tokens) is None


def test_however_a_json_list_is_written():
    tokens = Tokens.of("Ann met Zoë")
    expected = [(0, 0, 0), (2, 2, 0)]
    assert marks(JSON, '[ "Ann",\n "Zo\\u00eb" ]', tokens) == expected
    assert JSON.write([("Ann", 0), ("Zoë", 0)]) == '["Ann", "Zoë"]'


@given(
    st.integers(1, 2).flatmap(
        lambda sorts: st.lists(
            st.tuples(*[st.floats(-3, 3)] * (1 + 2 * sorts)), min_size=1, max_size=4
        )
    )
)
def test_the_likeliest_marks_are_those_of_all(scores):
    """By going through all tags of all tokens, where only within a span one goes on."""
    told = np.array(scores)
    told -= np.log(np.exp(told).sum(axis=1, keepdims=True))
    count, tags = told.shape
    tokens = Tokens.of(" ".join("abcd"[:count]))
    endings = ("", "!")[: tags // 2]
    series = Series("", ",", "", False, endings, True, "-")
    odds: defaultdict[str, float] = defaultdict(float)
    for tagging in product(range(tags), repeat=count):
        before = (0, *tagging)
        within = zip(before, tagging, strict=False)
        if all(tag % 2 or not tag or prior in (tag, tag - 1) for prior, tag in within):
            starts = [i for i, tag in enumerate(tagging) if tag % 2]
            items = []
            for start in starts:
                end = start + 1
                while end < count and tagging[end] == tagging[start] + 1:
                    end += 1
                items.append((tokens.surface(start, end - 1), tagging[start] // 2))
            odds[series.write(items)] += math.exp(sum(told[i, t] for i, t in enumerate(tagging)))
    items, share = decoding.series(tokens, told, 1, series)
    assert share == pytest.approx(max(odds.values()) / sum(odds.values()), rel=1e-6)
    assert odds[series.write(items)] == pytest.approx(max(odds.values()), rel=1e-6)


def test_of_a_text_without_tokens_nothing_is_listed():
    told = np.zeros((0, 3))
    assert decoding.series(Tokens.of(""), told, 1, JSON) == ([], 1.0)
    always = Series("[", ", ", "]", True, ("",), False, None)
    assert decoding.series(Tokens.of(""), told, 1, always) == ([], 0.0)


def test_a_plain_list_is_a_series():
    found = find(*zip(*plain(200), strict=True))
    assert found is not None
    assert found.extraction.fields == (Series("", ", ", "", False, ("",), False, "nobody"),)
    assert found.cover == 1.0


@pytest.mark.parametrize(("indent", "between"), [(None, ", "), (1, ",\n  ")])
def test_a_json_list_is_a_series(indent, between):
    rows = [(text, json.loads(answer)) for text, answer in objects(200)]
    found = find([text for text, _ in rows], [json.dumps(said, indent=indent) for _, said in rows])
    assert found is not None
    people, many = found.extraction.fields
    assert isinstance(people, Series)
    assert (people.quoted, people.separator, people.again, people.none) == (
        True,
        between,
        False,
        "[]",
    )
    assert isinstance(many, tuple)
    assert set(many) == {"true", "false"}
    assert Extraction.from_json(json.loads(json.dumps(found.extraction.as_json()))) == (
        found.extraction
    )


def test_items_may_be_of_several_sorts():
    found = find(*zip(*sorts(200), strict=True))
    assert found is not None
    (series,) = found.extraction.fields
    assert isinstance(series, Series)
    assert set(series.endings) == {" - PERSON", " - PLACE"}
    assert found.extraction.tags == [1, 5]


def test_what_has_a_comma_now_and_then_is_no_list():
    pairs = [(f"Pay {1000 + i}, {i} or {7 * i}", f"{1000 + i}, {i}") for i in range(3)]
    pairs += [(f"Pay {1000 + i} or {7 * i}", f"{1000 + i}") for i in range(97)]
    found = find(*zip(*pairs, strict=True))
    assert found is not None
    assert isinstance(found.extraction.fields[0], Slot)


@pytest.mark.parametrize("make", [plain, objects, sorts])
def test_lists_are_learnt(make):
    pairs = make(500)
    texts, answers = zip(*pairs, strict=True)
    found = find(texts, answers)
    assert found is not None
    made = train(texts, answers, found, range(len(texts)))
    fresh = make(150, seed=7)
    said = made.rung.predict([text for text, _ in fresh])
    right = np.array([agree(one.answer, told) for one, (_, told) in zip(said, fresh, strict=True)])
    ((_, most),) = Counter(answers).most_common(1)
    assert right.mean() > 0.9 > 0.5 > most / len(pairs)
    # What nobody has said before.
    new = np.array([told not in set(answers) for _, told in fresh])
    assert new.sum() > 50
    assert right[new].mean() > 0.85
    assert made.confidences.mean() == pytest.approx(made.agreed.mean(), abs=0.04)


def test_it_is_sure_of_the_lists_that_it_has_right():
    """Who may have come is listed or not: nothing tells."""
    rng = random.Random(2)
    pairs = []
    for i in range(800):
        people = [f"{rng.choice(FIRST)} {rng.choice(LAST)}" for _ in range(rng.randint(1, 3))]
        doubted = i % 3 == 0
        text = " ".join(f"{'Perhaps' if doubted else 'Surely'} {one} came." for one in people)
        kept = [one for one in once(people) if not doubted or rng.random() < 0.5]
        pairs.append((text, json.dumps(kept)))
    texts, answers = zip(*pairs, strict=True)
    found = find(texts, answers)
    assert found is not None
    made = train(texts, answers, found, range(len(texts)))
    assert made.confidences.mean() == pytest.approx(made.agreed.mean(), abs=0.04)
    doubted = np.arange(len(texts)) % 3 == 0
    assert made.agreed[doubted].mean() < 0.7
    assert made.confidences[doubted].max() < made.confidences[~doubted].min() + 0.2
    surest = np.argsort(-made.confidences)[: len(texts) // 2]
    assert made.agreed[surest].mean() > 0.93


@pytest.mark.parametrize("make", [plain, objects, sorts])
def test_a_task_of_lists_gets_a_student(tmp_path, make):
    data = build(exchanges(make(500)))
    result = retrain(Challenge("v1", data, TaskState("notes"), PolicySettings()))
    assert result.verdict.promoted, result.verdict.reason
    assert result.rungs == ("extraction",)
    assert result.ladder is not None
    result.ladder.save(tmp_path)
    student = Ladder.load(tmp_path)
    fresh = make(40, 9)
    said = student.predict([text for text, _ in fresh])
    assert said == result.ladder.predict([text for text, _ in fresh])
    sure = [
        agree(one.answer, told)
        for one, (_, told) in zip(said, fresh, strict=True)
        if one.confidence >= student.threshold
    ]
    assert len(sure) > 20
    assert np.mean(sure) > 0.9
    # Of another task it says nothing.
    (strange,) = student.predict(["Où est la bibliothèque, s'il vous plaît ?"])
    assert strange.confidence < student.threshold


def test_a_long_text_is_listed_from_its_beginning():
    text = " ".join(["Ann"] * (MOST + 5))
    assert marks(SORTED, f"[{', '.join(['Ann - PERSON'] * MOST)}]", Tokens.of(text)) is not None
    too_many = f"[{', '.join(['Ann - PERSON'] * (MOST + 1))}]"
    assert marks(SORTED, too_many, Tokens.of(text)) is None
