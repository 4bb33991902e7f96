"""A student knows what it has not learnt."""

from __future__ import annotations

import string
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.students import label, novelty
from distill.students.label import LabelRung
from policies.ngrams import count_ngrams

_TOPICS = {
    "billing": ["invoice", "charged", "payment", "receipt"],
    "shipping": ["parcel", "courier", "delivery", "tracking"],
}
_FILLER = (
    "hello please could you help me with my order since last week i have been waiting and nobody "
    "answered the phone today so now i write to you thanks in advance for your kind reply it is "
    "about the blue one from the spring catalogue that my sister bought in town for our mother"
)

FOREIGN = [
    "Guten Tag, seit letzter Woche warte ich auf mein Paket und niemand geht ans Telefon",
    "Bonjour, je voudrais savoir pourquoi ma carte a été débitée deux fois ce mois-ci",
    "Здравствуйте, подскажите пожалуйста, где находится моя посылка",
    "您好，我想知道我的包裹现在在哪里，为什么还没有送到",
]
OTHER_TASKS = [
    "What is the sum of the first hundred odd numbers? Show every step of the proof.",
    "def parse(tokens): return [int(token) for token in tokens if token.isdigit()]",
    "Translate the following Latin sentence: Gallia est omnis divisa in partes tres.",
    "Patient, 54, presents with dyspnoea, bilateral oedema and elevated troponin levels.",
]


def ticket(rng: Random) -> tuple[str, str]:
    topic = rng.choice(sorted(_TOPICS))
    words = rng.choices(_FILLER.split(), k=25)
    for position in rng.sample(range(25), 3):
        words[position] = rng.choice(_TOPICS[topic])
    return " ".join(words), topic


def tickets(count: int, seed: int) -> tuple[list[str], list[str]]:
    rng = Random(seed)
    texts, answers = zip(*(ticket(rng) for _ in range(count)), strict=True)
    return list(texts), list(answers)


def gibberish(texts: list[str], seed: int) -> list[str]:
    rng = Random(seed)
    return [
        "".join(rng.choice(string.ascii_lowercase) if c.isalpha() else c for c in text)
        for text in texts
    ]


@pytest.fixture(scope="module")
def trained() -> label.Trained:
    texts, answers = tickets(300, seed=1)
    return label.train(texts, answers, sorted(_TOPICS))


def confidences(rung: LabelRung, texts: list[str]) -> list[float]:
    return [prediction.confidence for prediction in rung.predict(texts)]


def test_it_is_sure_of_what_is_like_its_training_data(trained: label.Trained) -> None:
    texts, answers = tickets(200, seed=2)
    predictions = trained.rung.predict(texts)
    right = [p.answer == a for p, a in zip(predictions, answers, strict=True)]
    assert np.mean(right) > 0.97
    assert np.mean([p.confidence for p in predictions]) > 0.9
    assert np.mean([p.confidence == 0 for p in predictions]) <= 0.02


def test_it_answers_nothing_that_is_not(trained: label.Trained) -> None:
    strange = [*FOREIGN, *OTHER_TASKS, *gibberish(tickets(50, seed=3)[0], seed=4)]
    assert confidences(trained.rung, strange) == [0.0] * len(strange)
    # No threshold that training data lead to lets it answer.
    assert trained.confidences.min() > 0


def test_one_that_knows_a_single_answer_knows_its_limits_too() -> None:
    texts, _ = tickets(100, seed=5)
    rung = label.train(texts, ["yes"] * len(texts), ("yes",)).rung
    assert min(confidences(rung, tickets(20, seed=6)[0])) > 0.5
    assert max(confidences(rung, [*FOREIGN, *OTHER_TASKS])) == 0.0


def test_it_is_kept(trained: label.Trained, tmp_path: Path) -> None:
    trained.rung.save(tmp_path)
    loaded = LabelRung.load(tmp_path, "ngram", None)
    texts = [*tickets(20, seed=7)[0], *FOREIGN, ""]
    assert loaded.predict(texts) == trained.rung.predict(texts)


def test_surprise_is_one_on_average_and_seldom_great() -> None:
    texts, _ = tickets(400, seed=8)
    new, among = novelty.fit(texts, count_ngrams(texts))
    surprise = new(count_ngrams(tickets(400, seed=9)[0]))
    for each in (among, surprise):
        assert each.min() >= 0
        assert each.mean() == pytest.approx(1.0, abs=0.25)
        assert np.mean(each > 3.0) == pytest.approx(np.exp(-3.0), abs=0.035)


def test_repeats_make_nothing_else_surprising() -> None:
    texts, _ = tickets(200, seed=10)
    once, _ = novelty.fit(texts, count_ngrams(texts))
    often, surprise = novelty.fit(texts * 3, count_ngrams(texts * 3))
    fresh = count_ngrams(tickets(50, seed=11)[0])
    assert np.array_equal(once(fresh), often(fresh))
    assert np.array_equal(surprise[:200], surprise[200:400])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=30), st.text(max_size=60))
def test_any_texts_will_do(texts: list[str], other: str) -> None:
    new, surprise = novelty.fit(texts, count_ngrams(texts))
    assert len(surprise) == len(texts)
    (of_other,) = new(count_ngrams([other]))
    assert np.isfinite(surprise).all()
    assert np.isfinite(of_other)
    assert of_other >= 0
