import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from distill.dataset import build, common_head, is_held_out
from tests.distill.synthetic import exchange, exchanges, stream


def test_no_prompt_is_on_both_sides():
    pairs = stream(200)
    data = build(exchanges(pairs + [(text.upper(), label) for text, label in pairs]), 0.5)
    train = {example.text.lower() for example in data.train}
    held_out = {example.text.lower() for example in data.held_out}
    assert train
    assert held_out
    assert not train & held_out
    assert len(data) == 400


@given(st.text(), st.floats(0.01, 0.99))
def test_the_side_depends_on_the_prompt_alone(text, share):
    assert is_held_out(text, share) == is_held_out(f"  {text}\n", share)
    assert is_held_out(text, 1.0)
    assert not is_held_out(text, 0.0)


def test_only_a_random_sample_is_evidence():
    texts = [text for text, _ in stream(100) if is_held_out(text, 0.5)]
    sampled = [exchange(i, text, "billing") for i, text in enumerate(texts)]
    unsure = [exchange(i, f"{text} ", "billing", sampled=False) for i, text in enumerate(texts)]
    assert build(sampled + unsure, 0.5).held_out == build(sampled, 0.5).held_out


def test_the_same_exchanges_give_the_same_version():
    rows = exchanges(stream(50))
    assert build(rows, 0.5) == build(rows, 0.5)
    assert build(rows, 0.5).version != build(rows[1:], 0.5).version


def test_a_correction_gives_another_version():
    rows = exchanges(stream(50))
    corrected = dataclasses.replace(rows[0], right_answer="another")
    assert build([corrected, *rows[1:]], 0.5).version != build(rows, 0.5).version


def test_the_most_frequent_wording_stands_for_an_answer():
    answers = ["Yes", "Yes", "Yes\n", "No"]
    rows = [exchange(i, f"text {i}", answer) for i, answer in enumerate(answers)]
    data = build(rows, 0.5)
    assert sorted(e.answer for e in data.train + data.held_out) == ["No", "Yes", "Yes", "Yes"]


def test_the_constant_beginning_is_left_out():
    head = "Decide if the two descriptions match.\n"
    rows = [exchange(i, f"{head}{word}", "Yes") for i, word in enumerate(["ab", "ac", "b"])]
    data = build(rows, 0.5)
    assert data.head == head
    assert sorted(e.text for e in data.train + data.held_out) == ["ab", "ac", "b"]


@given(st.lists(st.text(), min_size=1), st.text())
def test_the_head_is_shared_by_all(texts, head):
    texts = [head + text for text in texts]
    assert all(text.startswith(common_head(texts)) for text in texts)


def test_a_short_or_broken_beginning_is_no_head():
    assert common_head(["one two", "one three"]) == ""
    assert common_head(["a-very-long-single-word-1", "a-very-long-single-word-2"]) == ""
    assert common_head([]) == ""
