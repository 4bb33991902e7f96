"""What label students learn of how sure the teacher was."""

import dataclasses
import json
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import PolicySettings
from distill.data import soft
from distill.data.dataset import build
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from distill.runs.own_encoder import tune
from distill.students import label
from distill.students.apart import TrainingError
from distill.students.encoder import SentenceEncoder
from distill.students.tuned import job
from telemetry.exchange import TaskState
from tests.distill import sentence_encoder
from tests.distill.synthetic import WORDS, exchange, stream

LABELS = tuple(WORDS)


def choices(answer, likeliest):
    """As an exchange keeps an answer of one token, with the probabilities of the likeliest."""
    logprobs = {token: math.log(share) for token, share in likeliest.items()}
    top = [{"token": token, "logprob": logprob} for token, logprob in logprobs.items()]
    content = [{"token": answer, "logprob": logprobs[answer], "top_logprobs": top}]
    message = {"role": "assistant", "content": answer}
    return json.dumps([{"message": message, "logprobs": {"content": content}}])


def unsure(answer, share=0.6):
    """The same, where the rest goes to the label after it."""
    other = LABELS[(LABELS.index(answer) + 1) % len(LABELS)]
    return choices(answer, {answer: share, other: 1 - share})


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([("yes", {"yes": 0.7, "no": 0.2, "Yes": 0.1})], [0.7, 0.2, 0.0, 0.1]),
        # A token may begin one label, or several, or none.
        ([("no", {"no": 0.5, "y": 0.3, "n": 0.1, "x": 0.1})], [0.3, 0.5, 0.0, 0.1]),
        # What is said otherwise later counts by the way to there.
        ([("n", {"n": 0.8, "y": 0.2}), ("ot", {"ot": 0.9, "o": 0.1})], [0.2, 0.08, 0.72, 0.0]),
        ([("maybe", {"maybe": 0.9, "yes": 0.1})], [0.1, 0.0, 0.0, 0.9]),
        ([], [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_labels_are_told_by_how_they_begin(told, expected):
    tokens = [(one, {token: math.log(p) for token, p in likely.items()}) for one, likely in told]
    assert soft.given(tokens, ("yes", "no", "not")) == pytest.approx(expected)


@given(
    st.sets(st.text("abc", min_size=3, max_size=3), min_size=2, max_size=8), st.randoms(), st.data()
)
def test_what_a_teacher_gives_labels_is_found_again(words, rng, data):
    """Of a teacher that writes one of these words, a letter at a time, each with its chance."""
    labels = sorted(words)
    weights = [rng.uniform(0.01, 1) for _ in labels]
    chance = dict(zip(labels, (one / sum(weights) for one in weights), strict=True))
    answer = data.draw(st.sampled_from(labels))
    told = []
    for at in range(3):
        likely: dict[str, float] = {}
        begun = {one: p for one, p in chance.items() if one[:at] == answer[:at]}
        for one, p in begun.items():
            likely[one[at]] = likely.get(one[at], 0.0) + p / sum(begun.values())
        told.append((answer[at], {letter: math.log(p) for letter, p in likely.items()}))
    found = soft.given(told, labels)
    assert found[labels.index(answer)] == pytest.approx(chance[answer])
    assert found[-1] == 0
    for one, share in zip(labels, found, strict=False):
        # All of it, or nothing where two labels begin alike.
        assert share == pytest.approx(chance[one]) or share == 0


def test_an_answer_without_log_probabilities_has_all():
    pairs = stream(3)
    rows = [exchange(i, *pair) for i, pair in enumerate(pairs)]
    assert soft.shares(build(rows), LABELS) is None
    rows[1] = exchange(1, *pairs[1], choices=unsure(pairs[1][1]))
    # What a person has put right is not what the teacher was sure of.
    rows[2] = exchange(2, pairs[2][0], "else", choices=unsure(pairs[2][1]))
    found = soft.shares(build(rows), LABELS)
    assert found is not None
    expected = np.zeros((3, 4))
    expected[0, LABELS.index(pairs[0][1])] = 1
    sure = LABELS.index(pairs[1][1])
    expected[1, sure], expected[1, (sure + 1) % 3] = 0.6, 0.4
    expected[2, 3] = 1
    assert found == pytest.approx(expected)


def test_what_a_student_was_sure_of_is_not_what_its_teacher_was():
    row = exchange(0, "a", "billing", choices=unsure("billing"))
    assert build([row]).examples[0].choices is not None
    audited = dataclasses.replace(row, route="student", agreed=True)
    assert build([audited]).examples[0].choices is None


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": [{"token": "billing", "logprob": None, "top_logprobs": []}]},
        {
            "content": [
                {
                    "token": "billing",
                    "logprob": -0.1,
                    "top_logprobs": [{"token": "outage", "logprob": None}],
                }
            ]
        },
        {"content": [{"token": "billing", "logprob": 1e9}]},
        {"content": [{"token": "billing", "logprob": math.nan}]},
        {"content": [{"token": "billing"}]},
        {"content": [{"token": None, "logprob": -0.1}]},
        {"content": ["billing"]},
        ["billing"],
    ],
)
def test_log_probabilities_that_are_none_are_as_if_there_were_none(logprobs):
    rows = [exchange(i, *pair) for i, pair in enumerate(stream(3))]
    message = {"role": "assistant", "content": "billing"}
    rows[0] = exchange(
        0, "a", "billing", choices=json.dumps([{"message": message, "logprobs": logprobs}])
    )
    assert soft.shares(build(rows), LABELS) is None


def test_a_student_learns_how_sure_its_teacher_was():
    rows = [
        exchange(i, text, said, choices=unsure(said, 0.8))
        for i, (text, said) in enumerate(stream(300))
    ]
    run = retrain(Challenge("v", build(rows), TaskState("support"), PolicySettings()))
    assert run.verdict.promoted
    assert run.ladder is not None
    (asked, truth), *_ = stream(1, seed=9)
    (prediction,) = run.ladder.predict([asked])
    given = dict(prediction.alternatives)
    assert prediction.answer == truth
    assert given[truth] == pytest.approx(0.8, abs=0.1)
    assert given[LABELS[(LABELS.index(truth) + 1) % 3]] == pytest.approx(0.2, abs=0.1)


def test_soft_labels_teach_more_than_answers_do():
    """Of a teacher that is in two minds, and answers by chance."""
    rng = random.Random(0)
    rows = []
    for i, (text, truth) in enumerate(stream(120)):
        other = LABELS[(LABELS.index(truth) + 1) % 3]
        said = truth if rng.random() < 0.6 else other
        rows.append(exchange(i, text, said, choices=choices(said, {truth: 0.6, other: 0.4})))
    data = build(rows)
    texts = [example.text for example in data.examples]
    answers = [example.answer for example in data.examples]
    asked = stream(300, seed=7)

    def agreed(shares):
        rung = label.train(texts, answers, LABELS, shares=shares).rung
        said = rung.predict([text for text, _ in asked])
        return np.mean([one.answer == truth for one, (_, truth) in zip(said, asked, strict=True)])

    assert agreed(soft.shares(data, LABELS)) > agreed(None) + 0.1


def test_an_encoder_is_tuned_on_them_too(tmp_path, monkeypatch):
    made = []

    def run(asked):
        made.append(asked)
        raise TrainingError("enough is known")

    monkeypatch.setattr(job, "run", run)
    folder = sentence_encoder.table(tmp_path / "base" / "tiny", ["a"])
    encoder = SentenceEncoder.open(str(folder), tmp_path / "encoder")
    rows = [
        exchange(i, text, said, choices=unsure(said)) for i, (text, said) in enumerate(stream(90))
    ]
    for kept in (rows, [exchange(i, *pair) for i, pair in enumerate(stream(90))]):
        with pytest.raises(TrainingError):
            tune(
                TaskState("support"), 90, build(kept), 0.1, encoder, tmp_path / "encoder", cpu_s=1.0
            )
    told, untold = made
    assert untold.shares is None
    for one, shares in zip(told.classes, told.shares, strict=True):
        assert shares[one] == pytest.approx(0.6)
        assert sum(shares) == pytest.approx(1)
