"""Slices of a task's evidence, and figures of each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.evaluation.language import language
from distill.evaluation.report import interval, report
from distill.evaluation.slices import Slice, cut, topics
from policies.calibration import Outcomes
from tests.distill.synthetic import stream

LABELS = ("billing", "outage", "account")


def slices(texts, answers, surprise=None, instructions=None):
    surprise = np.ones(len(texts)) if surprise is None else np.asarray(surprise)
    found = cut(texts, answers, LABELS, surprise, instructions)
    return {(each.kind, each.name): each.rows for each in found}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Where is my order? It has not come yet.", "English"),
        ("Wo bleibt meine Bestellung? Sie ist noch nicht da.", "German"),
        ("Où est ma commande ? Je ne l'ai pas encore.", "French"),
        ("¿Dónde está mi pedido? No lo tengo y es urgente.", "Spanish"),
        ("Dov'è il mio ordine? Non è arrivato.", "Italian"),
        ("私の注文はどこですか", "Japanese"),
        ("我的订单在哪里", "Chinese"),
        ("Где мой заказ?", "Cyrillic"),
        ("ABC-1234 / 77", "unknown"),
        ("", "unknown"),
    ],
)
def test_languages(text, told):
    assert language(text) == told


@given(st.lists(st.text(max_size=40), min_size=1, max_size=120), st.randoms(use_true_random=False))
def test_each_kind_takes_every_request_once(texts, rng):
    answers = [rng.choice([*LABELS, "rare"]) for _ in texts]
    surprise = [rng.expovariate(1) for _ in texts]
    told = [rng.choice("ab") for _ in texts]
    found = cut(texts, answers, LABELS, np.array(surprise), told)
    for kind in {each.kind for each in found}:
        parts = [each.rows for each in found if each.kind == kind]
        assert len(parts) > 1
        assert (np.sum(parts, axis=0) == 1).all()


def test_what_makes_a_slice():
    pairs = stream(300)
    texts = [text if i % 2 else f"{text} {'and so on ' * 9}" for i, (text, _) in enumerate(pairs)]
    answers = ["rare" if i < 25 else label for i, (_, label) in enumerate(pairs)]
    surprise = np.where(np.arange(300) % 10 == 0, 3.0, 0.1)
    found = slices(texts, answers, surprise)
    assert found["rarity", "long tail"].sum() == 30
    assert found["answer", "(others)"].nonzero()[0].tolist() == list(range(25))
    assert found["age", "newest quarter"].nonzero()[0].tolist() == list(range(225, 300))
    longest = [rows for (kind, name), rows in found.items() if kind == "length" and "over" in name]
    assert longest
    assert not longest[0][1::2].any()


def test_all_others_are_one_slice():
    """Answers that cannot be learnt, and those that are rare."""
    answers = ["rare"] * 25 + ["account"] * 5 + ["billing"] * 50
    names = [each.name for each in cut(["hello"] * 80, answers, LABELS, np.ones(80), None)]
    assert names.count("(others)") == 1
    assert slices(["hello"] * 80, answers)["answer", "(others)"].sum() == 30


def test_few_requests_and_requests_that_are_all_alike_have_no_slices():
    assert slices(["hello"] * 10, ["billing"] * 10) == {}


def test_topics_part_what_is_of_different_matters():
    money, weather = "invoice refund money bank", "rain storm cloud wind"
    texts = [f"{(money if i % 2 else weather)} {i}" for i in range(100)]
    found = topics(texts)
    assert len({*found[0::2]} | {*found[1::2]}) == 2
    assert not set(found[0::2]) & set(found[1::2])
    assert set(found[1].split()) < set(money.split())
    assert len(set(topics(["all the same"] * 200))) == 1


def outcomes(confidences, agreed, weights=None):
    confidences, agreed = np.array(confidences, dtype=float), np.array(agreed, dtype=bool)
    weights = np.ones(len(agreed)) if weights is None else np.array(weights, dtype=float)
    return Outcomes(confidences[:, np.newaxis], agreed[:, np.newaxis], weights)


def test_figures_of_a_slice():
    evidence = outcomes([0.9] * 60 + [0.1] * 40, [True] * 54 + [False] * 6 + [False] * 40)
    first = np.arange(100) < 30
    last = np.arange(100) >= 60
    caught = np.arange(100) >= 50
    parts = [Slice("length", "short", first), Slice("length", "long", last)]
    told = report(evidence, evidence.given(0.5), 0.5, parts, caught, 0.05)
    everything, short, long = told.slices
    assert (everything.evidence, everything.answered, everything.wrong) == (100, 60, 6)
    assert everything.agreement == pytest.approx(0.9)
    assert everything.bound == "open"
    assert (short.agreement, short.high, short.share) == (1.0, 1.0, pytest.approx(0.3))
    assert (long.answered, long.agreement, long.low, long.high) == (0, None, 0.0, 1.0)
    assert (told.regressions.right, told.regressions.left, told.regressions.wrong) == (4, 40, 6)
    assert told.brier == pytest.approx(0.6 * 0.09 + 0.4 * 0.01)


def test_confidence_that_is_not_what_it_says():
    right = np.arange(100) % 10 != 0
    said = report_of(outcomes([0.9] * 100, right))
    assert said.calibration_error == pytest.approx(0.0)
    assert report_of(outcomes([0.7] * 100, right)).calibration_error == pytest.approx(0.2)


def report_of(evidence):
    """Figures of all requests, all answered."""
    none = np.zeros(len(evidence), dtype=bool)
    return report(evidence, evidence.given(0.5), 0.5, [], none, 0.05)


@pytest.mark.parametrize(("right", "bound"), [(400, "kept"), (340, "broken"), (378, "open")])
def test_what_a_slice_says_of_the_bound(right, bound):
    evidence = outcomes([0.9] * 400, np.arange(400) < right)
    assert report_of(evidence).slices[0].bound == bound


@given(st.integers(1, 300), st.integers(0, 100).map(lambda n: n / 100), st.floats(0.01, 100))
def test_intervals(count, share, weight):
    low, high = interval(share, np.full(count, weight))
    assert 0 <= low <= share + 1e-9 <= high + 2e-9 <= 1 + 2e-9
    if count > 1:
        # Answers of unequal weight say less.
        heavy = np.ones(count)
        heavy[0] = 50
        wide = interval(share, heavy)
        assert wide[1] - wide[0] >= high - low - 1e-9
