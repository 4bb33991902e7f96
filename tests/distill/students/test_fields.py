"""Answers that are JSON objects with enumerated fields: learnt one by one, given as a whole."""

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import LoopSettings, PolicySettings
from distill.answers import learnable, named
from distill.students import forms, label
from distill.students.forms import Form
from distill.students.label import LabelRung
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from policies.agreement import agree
from telemetry.store import Store
from tests.distill.synthetic import AT_ONCE, FILLER, exchange, messages
from tests.router.server import Server

WORDS = {
    "intent": {"refund": "money", "bug": "crash", "question": "how", "praise": "great"},
    "urgency": {"low": "whenever", "mid": "soonish", "high": "now"},
    "language": {"en": "english", "de": "deutsch", "fr": "francais", "it": "italiano"},
}


def told(text):
    """The teacher's answer: one of 48 objects."""
    said = {
        field: next(value for value, word in words.items() if word in text)
        for field, words in WORDS.items()
    }
    about = {"urgency": said["urgency"], "call": said["urgency"] == "high"}
    return json.dumps({"intent": said["intent"], "about": about, "language": said["language"]})


def requests(count, seed=0):
    rng = random.Random(seed)
    texts = []
    for place in range(count):
        words = [rng.choice(list(words.values())) for words in WORDS.values()]
        words += [*rng.sample(FILLER, 4), f"{seed}{place}"]
        rng.shuffle(words)
        texts.append(" ".join(words))
    return texts


scalars = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())
inner = st.dictionaries(st.text(), scalars, min_size=1, max_size=3)
objects = st.dictionaries(st.text(), scalars | inner, min_size=1, max_size=4)


@given(objects, st.sampled_from([None, 2]), st.sampled_from(["", "```json\n", "Here: "]))
def test_an_object_comes_back_from_its_fields(value, indent, before):
    answer = before + json.dumps(value, indent=indent)
    form = forms.find([answer])
    assert form is not None
    said = form.read(answer)
    assert said is not None
    assert forms.write(form.pieces, said) == answer
    # However else it is written.
    assert form.read(json.dumps(dict(reversed(value.items())), ensure_ascii=False)) == said


@given(st.text(alphabet='{}[]":, a1\\\n'))
def test_what_is_no_object_has_no_form(answer):
    form = forms.find([answer])
    assert form is None or json.loads(answer[answer.index("{") : answer.rindex("}") + 1])


@pytest.mark.parametrize("answer", ["essay", "[1]", "{}", '{"a": 1', '{"a":' * 10_000, "{1: 2}"])
def test_answers_without_fields_are_left_alone(answer):
    assert forms.find([answer] * 5) is None


def test_the_teachers_most_frequent_way_of_writing_is_the_form():
    form = forms.find(['{"a": 1.0, "b": "x"}'] * 3 + ['{"b":"y","a":1.0}'] * 2 + ["sorry"])
    assert form is not None
    assert forms.write(form.pieces, ("1.0", '"y"')) == '{"a": 1.0, "b": "y"}'
    assert form.read('{"b":"y","a":1.0}') == ("1.0", '"y"')
    assert form.read('{"a": 1.0}') is None
    assert form.read("sorry") is None


def test_fields_are_learnt_where_whole_answers_are_too_many():
    answers = [told(text) for text in requests(150)]
    form = learnable(answers)
    assert isinstance(form, Form)
    assert set(named(form, answers)) >= {'intent: "bug"', "about.call: true", 'language: "de"'}
    assert len(named(form, answers)) == 4 + 3 + 2 + 4


def test_few_whole_answers_stay_labels():
    answers = ['{"a": 1, "b": 2}', '{"a": 3, "b": 4}'] * 10
    assert learnable(answers) == tuple(answers[:2])
    # Not where the teacher writes each of them in ways of its own.
    assert isinstance(
        learnable([*answers, *('{"b":2,"a":1}', '{"a":1,"b":2}', '{"b":4,"a":3}') * 5]), Form
    )


def test_a_free_field_makes_the_answers_open():
    answers = [json.dumps({"intent": "bug", "why": text}) for text in requests(100)]
    assert learnable(answers) == ()


def test_a_whole_that_was_never_seen_is_said(tmp_path):
    texts = [text for text in requests(250) if told(text) != told("crash now deutsch")]
    answers = [told(text) for text in texts]
    form = learnable(answers)
    assert isinstance(form, Form)
    trained = label.train(texts, answers, form)
    assert trained.agreed.mean() > 0.9
    assert list(trained.agreed) == [
        agree(*pair) for pair in zip(trained.said, answers, strict=True)
    ]
    (new,) = trained.rung.predict(["please crash our now team deutsch"])
    assert new.answer == told("crash now deutsch")
    trained.rung.save(tmp_path)
    assert LabelRung.load(tmp_path, "ngram", None).predict(texts[:9]) == trained.rung.predict(
        texts[:9]
    )


def test_what_stands_around_an_object_is_kept_as_it_is(tmp_path):
    texts = requests(100)
    answers = [f"Here\0{told(text)}\0" for text in texts]
    form = learnable(answers)
    assert isinstance(form, Form)
    rung = label.train(texts, answers, form).rung
    rung.save(tmp_path)
    assert LabelRung.load(tmp_path, "ngram", None).predict(texts[:9]) == rung.predict(texts[:9])


def test_one_doubtful_field_makes_the_whole_doubtful():
    rng = random.Random(5)
    texts, answers = [], []
    for text in requests(300):
        value = json.loads(told(text))
        if "crash" in text:
            text = text.replace(WORDS["language"][value["language"]], "")
            value["language"] = rng.choice(list(WORDS["language"]))
        texts.append(text)
        answers.append(json.dumps(value))
    form = forms.find(answers)
    assert form is not None
    confidences = label.train(texts, answers, form).confidences
    doubtful = np.array(["crash" in text for text in texts])
    assert confidences[doubtful].mean() < 0.6 < 0.8 < confidences[~doubtful].mean()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1, "b": [2]}', '{"b":[2],\n"a":1}', True),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": "b"}', '{"a": "B"}', False),
        ('{"a": 1, }', '{"a": 1,}', False),
        ("[1, 2]", "[1,2]", False),
    ],
)
def test_objects_agree_however_they_are_written(one, other, same):
    assert agree(one, other) is same
    assert agree(other, one) is same


def test_the_loop_gives_a_task_of_objects_a_student(tmp_path):
    store = Store(tmp_path)
    texts = requests(400)
    store.write([exchange(i, text, told(text), "tickets") for i, text in enumerate(texts)])
    looks = iter([False])
    settings = TrainerSettings(
        data=tmp_path, policy=PolicySettings(), loop=LoopSettings(encoder=None, rollout=AT_ONCE)
    )
    Trainer(settings).run(lambda: next(looks, True))
    (serving,) = store.roster.serving()
    card = json.loads(serving.card)
    assert card["rungs"] == ["ngram"]
    assert card["gate"]["share"] > 0.5
    assert "about.call: true" in card["labels"]
    asked: Any = messages("please great our now team italiano")
    where = ("--teacher-base-url", "http://127.0.0.1:9/v1")
    with Server(tmp_path, *where, PROTEGE_LOOP__ENABLED="false") as server:
        answer = server.client().chat.completions.with_raw_response.create(
            model="auto",
            messages=asked,
            metadata={"task": "tickets"},
            response_format={"type": "json_object"},
        )
    assert answer.headers["x-protege-route"] == "student"
    assert answer.parse().choices[0].message.content == told("great now italiano")
