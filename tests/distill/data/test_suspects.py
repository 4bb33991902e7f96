"""Which answers of a teacher are suspected, and that tests stay tests where they are left out."""

import random
from typing import Any

import numpy as np
import pytest

from distill.data.confident import likely_wrong
from distill.data.dataset import build
from distill.data.review import findings
from distill.data.suspects import sieve, suspects
from distill.students import label
from distill.students.base import LEAST_SUPPORT
from distill.students.fitting import fit, frequent_labels
from tests.distill.synthetic import WORDS, exchange, exchanges, stream


def test_confident_learning_on_a_worked_example():
    """Means of the own label: a 0.72, b 0.7; so 0.75 is confidently an a, and 0.7 no b."""
    probabilities = np.array(
        [[0.9, 0.1], [0.96, 0.04], [0.3, 0.7], [0.1, 0.9], [0.25, 0.75], [0.45, 0.55], [0.9, 0.1]]
    )
    answers = ["a", "a", "a", "b", "b", "b", "b"]
    # a: (0.9 + 0.96 + 0.3) / 3 = 0.72; b: (0.9 + 0.75 + 0.55 + 0.1) / 4 = 0.575.
    assert likely_wrong(probabilities, answers, ["a", "b"]).tolist() == [-1, -1, 1, -1, -1, -1, 0]
    # An answer that is no label is nobody's.
    answers[6] = "c"
    assert likely_wrong(probabilities, answers, ["a", "b"])[6] == -1


def test_rows_that_may_not_be_looked_at_have_no_part_in_it():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.3, 0.3, 0.3], 60)
    answers = rng.choice(list("abc"), 60)
    among = rng.random(60) < 0.7
    hidden = answers.copy()
    hidden[~among] = rng.choice(list("abc"), (~among).sum())
    one = likely_wrong(probabilities, list(answers), "abc", among)
    other = likely_wrong(probabilities, list(hidden), "abc", among)
    np.testing.assert_array_equal(one, other)
    assert (one[~among] == -1).all()
    assert (one >= 0).any()


def corrupted(count, rate, seed=0):
    """Pairs, and which of them have a wrong answer."""
    rng = random.Random(seed)
    pairs, wrong = [], []
    for text, answer in stream(count, seed):
        wrong.append(rng.random() < rate)
        others = [each for each in WORDS if each != answer]
        pairs.append((text, rng.choice(others) if wrong[-1] else answer))
    return pairs, np.array(wrong)


def trained_on(pairs, **how):
    texts, answers = [text for text, _ in pairs], [answer for _, answer in pairs]
    return label.train(texts, answers, frequent_labels(answers), **how)


def test_wrong_answers_are_found_and_not_learnt():
    pairs, wrong = corrupted(400, 0.1)
    data = build(exchanges(pairs))
    labels = frequent_labels([answer for _, answer in pairs])
    plain = trained_on(pairs)
    found = [one.place for one in suspects(data, labels, plain.probabilities)]
    assert wrong[found].mean() > 0.9
    assert wrong[found].sum() > 0.7 * wrong.sum()
    sifted = trained_on(pairs, taught=sieve(data, labels))
    assert set(np.flatnonzero(~sifted.taught[:, -1])) <= set(found)
    # They are evidence all the same.
    assert len(sifted.agreed) == 400
    assert not sifted.agreed[wrong].any()


def test_what_is_taught_does_not_depend_on_the_answers_it_is_tested_on():
    """Other answers in a fold change nothing of what the fold's own classifier is taught."""
    pairs, _ = corrupted(300, 0.15)
    texts = [text for text, _ in pairs]
    answers = [answer for _, answer in pairs]
    labels = list(WORDS)
    held = np.arange(300) % 5 == 2
    turned = [
        labels[(labels.index(answer) + 1) % 3] if out else answer
        for answer, out in zip(answers, held, strict=True)
    ]

    def taught(of):
        data = build(exchanges(list(zip(texts, of, strict=True))))
        seen = {}

        def spy(probabilities, among):
            doubtful = sieve(data, labels)(probabilities, among)
            seen[tuple(among)] = doubtful
            return doubtful

        label.train(texts, of, labels, groups=list(range(300)), taught=spy)
        return seen[tuple(~held)]

    one = taught(answers)
    assert one.any()
    np.testing.assert_array_equal(one, taught(turned))


def test_a_sieve_that_makes_no_better_student_is_not_used():
    pairs = stream(200)

    def blind(_probabilities, among):
        return among & (np.arange(200) % 2 == 0)

    assert trained_on(pairs, taught=blind).taught.all()


def test_no_label_is_sifted_out_of_existence():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4))
    answers = ["a"] * 30 + ["b"] * 26 + ["c"] * 4
    features[:30, 0] += 9
    features[30:, 1] += 9
    labels = ["a", "b", "c"]

    def harsh(_probabilities, among):
        return among & (np.array(answers) == "c")

    fitted = fit(features, answers, labels, np.zeros(60), range(60), harsh)
    assert (fitted.taught[:, -1] & (np.array(answers) == "c")).sum() >= LEAST_SUPPORT


def test_the_same_prompt_is_answered_the_same():
    texts = [
        "Where is my parcel?",
        "where is  my parcel?",
        "Where is my parcel?",
        "WHERE IS MY PARCEL?",
    ]
    rows = [exchange(i, text, "shipping") for i, text in enumerate(texts[:3])]
    rows += [exchange(3, texts[3], "billing"), exchange(4, "What do I owe?", "billing")]
    rows += [exchange(5, "What do I owe?", "shipping")]
    data = build(rows)
    flat = np.full((6, 2), 0.5)
    (one,) = suspects(data, ["shipping", "billing"], flat)
    assert (one.place, one.doubt, one.suggestion) == (3, "inconsistent", "shipping")
    assert one.probability == 0.75


@pytest.mark.parametrize("opinion", [{"score": 1.0}, {"right_answer": "billing"}])
def test_what_a_person_vouches_for_is_not_suspected(opinion):
    rows = [exchange(i, "the same prompt", "shipping") for i in range(5)]
    rows.append(exchange(5, "the same prompt", "billing", **opinion))
    assert suspects(build(rows), ["shipping", "billing"], np.full((6, 2), 0.5)) == []


def test_a_sure_student_that_says_otherwise_is_worth_a_look():
    rows = exchanges(stream(200))
    told: dict[str, Any] = {"student_answer": "billing", "confidence": 0.97}
    rows.append(exchange(900, "please crash down", "outage", **told))
    rows.append(exchange(901, "please crash down", "outage", **(told | {"confidence": 0.5})))
    found = [one for one in findings(build(rows), rows) if one.doubt == "contradicted"]
    assert [(one.id, one.suggestion, one.left_out) for one in found] == [
        ("support-900", "billing", False)
    ]


def test_the_same_object_written_otherwise_is_no_other_answer():
    """For each kind of doubt, beside an answer that is another."""
    spaced, tight, other = '{"a": 1, "b": 2}', '{"b":2,"a":1}', '{"a": 2, "b": 2}'
    said = [*[spaced] * 6, tight, other]
    same = build([exchange(i, "the same prompt", each) for i, each in enumerate(said)])
    (one,) = suspects(same, [spaced], np.full((8, 1), 0.5))
    assert (one.place, one.doubt, one.suggestion, one.probability) == (
        7,
        "inconsistent",
        spaced,
        7 / 8,
    )

    surely = np.array([[0.9, 0.05, 0.05]] * 8)
    alike = build([exchange(i, f"prompt {i}", each) for i, each in enumerate(said)])
    (one,) = suspects(alike, [spaced, tight, other], surely)
    assert (one.place, one.doubt) == (7, "unlike")

    words = dict(zip(WORDS, (spaced, other, "none"), strict=True))
    rows = exchanges([(text, words[answer]) for text, answer in stream(200)])
    told: dict[str, Any] = {"student_answer": spaced, "confidence": 0.97}
    rows.append(exchange(900, "please invoice refund", tight, **told))
    rows.append(exchange(901, "please crash down", other, **told))
    found = [one for one in findings(build(rows), rows) if one.doubt == "contradicted"]
    assert [one.id for one in found] == ["support-901"]


def test_where_nothing_can_be_learnt_nothing_is_suspected():
    rows = [exchange(i, text, f"essay {i}") for i, (text, _) in enumerate(stream(50))]
    assert findings(build(rows), rows) == []
