"""What text students learn from teachers that give more than words."""

import json
import math
import random
from dataclasses import asdict
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from config.settings import LoopSettings, PolicySettings
from distill.students.apart import TrainingError
from distill.students.text import job, language, scorer, training
from distill.students.text.engine import Engine, Sampling
from distill.students.text.examples import Example, aligned, examples_of, reasons_of
from distill.students.text.job import ENGINE, Job, Recipe
from distill.students.text.lesson import Lesson, lesson
from distill.students.text.objective import objective
from distill.students.text.scorer import Scorer
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from telemetry.store import Store
from tests.distill.language_model import pairs
from tests.distill.synthetic import exchange, messages

FEW = [Lesson(*pair) for pair in pairs(6)]


def choice(content, tokens=None, **message):
    """A choice as the log keeps it."""
    logprobs = {"content": tokens} if tokens else None
    said = {"role": "assistant", "content": content, **message}
    return {"index": 0, "message": said, "logprobs": logprobs, "finish_reason": "stop"}


def token(text, logprob, **others):
    listed = [{"token": one, "logprob": value} for one, value in others.items()]
    return {"token": text, "logprob": logprob, "top_logprobs": listed}


def causal(folder):
    return AutoModelForCausalLM.from_pretrained(folder)


def teacher(folder):
    return Scorer(folder, language.vocabulary(folder), "cpu", torch.float32)


@pytest.fixture(scope="module")
def vocabulary(language_model):
    return language.vocabulary(language_model)


@pytest.fixture(scope="module")
def other(language_model, tmp_path_factory):
    """A model of the same tokens with three layers that knows nothing."""
    folder = tmp_path_factory.mktemp("other")
    config = causal(language_model).config
    config.num_hidden_layers = 3
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config)
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.5)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(language_model).save_pretrained(folder)
    return folder


def test_a_lesson_has_what_the_log_keeps():
    request = json.dumps({"messages": messages("hi")})
    tokens = [token("4", -0.5, **{"5": -1.0, "4": -0.5}), token("2", -0.1)]
    kept = json.dumps([choice("42", tokens, reasoning_content="six times seven")])
    found = lesson("hi", "42", request, kept)
    assert found.told == (("4", {"4": -0.5, "5": -1.0}), ("2", {"2": -0.1}))
    assert found.trace == "six times seven"
    assert found.messages == messages("hi")


@pytest.mark.parametrize(
    "kept",
    [
        None,
        json.dumps([choice("41", [token("41", -0.5)], reasoning_content="wrong")]),
        json.dumps([choice("42", [token("4", -0.5)], reasoning_content=["odd"])]),
        json.dumps([choice(None, reasoning_content="a tool is called")]),
    ],
)
def test_what_was_said_of_another_answer_is_left_out(kept):
    assert lesson("hi", "42", None, kept) == Lesson("hi", "42")


@given(st.data())
def test_only_tokens_that_both_have_are_told(vocabulary, data):
    """The student's tokens are single bytes; the teacher's have a character or more."""
    words = data.draw(st.lists(st.text("abé", min_size=1, max_size=3), min_size=1, max_size=6))
    told = [(word, {word: -0.5, "c": -1.0, "cc": -2.0}) for word in words]
    said = vocabulary.answer("".join(words))
    found = aligned(said, told, vocabulary)
    if "é" in "".join(words):
        assert found == []  # Two bytes are no character each.
        return
    assert len(found) == len(said)
    (c, _end) = vocabulary.answer("c")
    at = 0
    for word in words:
        for place in range(at, at + len(word)):
            expected = {said[place]: -0.5, c: -1.0} if len(word) == 1 else {}
            assert found[place] == expected
        at += len(word)
    assert found[-1] == {}


def test_a_teacher_that_is_told_is_followed(language_model, tmp_path):
    """Of an answer that is said in six of ten cases, the student is no surer than that."""
    likeliest = {"x": math.log(0.6), "y": math.log(0.4)}
    taught = [Lesson(text, "x", [("x", likeliest)]) for text, _ in pairs(64)]
    plain = [Lesson(one.text, one.answer) for one in taught]
    sure = {}
    for name, lessons in (("told", taught), ("plain", plain)):
        folder = tmp_path / name
        recipe = Recipe(epochs=12, rate=4e-3)
        training.train(Job(str(language_model), "", lessons, str(folder), recipe))
        written = Engine(folder / ENGINE).write([text for text, _ in pairs(9, seed=5)], Sampling(4))
        assert {one.text for one in written} == {"x"}
        sure[name] = math.exp(sum(one.logprobs[0] for one in written) / len(written))
    # Half the loss is still on the word that was said.
    assert 0.6 < sure["told"] < 0.9
    assert sure["plain"] > 0.97


def test_who_is_as_the_local_teacher_loses_words_alone(language_model, other, vocabulary):
    same = teacher(language_model)
    batch = examples_of(FEW, vocabulary, same.question)
    model = causal(language_model)
    words = objective(model, batch, vocabulary.end).item()
    scored = objective(model, batch, vocabulary.end, same).item()
    assert scored == pytest.approx(words, abs=1e-4)
    strange = teacher(other)
    assert objective(model, batch, vocabulary.end, strange).item() > words + 0.1


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_local_teacher_scores_each_token_in_its_place(language_model, other, vocabulary, beta):
    """A batch loses what its examples lose alone; those that are not asked, words alone."""
    strange = teacher(other)
    asked = examples_of(FEW, vocabulary, strange.question)
    batch = [*asked[:3], *examples_of(FEW[3:], vocabulary)]
    model = causal(language_model)

    def loss(part):
        return objective(model, part, vocabulary.end, strange, beta).item()

    alone = [loss([example]) * example.weight for example in batch]
    together = loss(batch) * sum(example.weight for example in batch)
    assert together == pytest.approx(sum(alone), rel=1e-4)
    words = objective(model, batch[3:], vocabulary.end).item()
    assert loss(batch[3:]) == pytest.approx(words, rel=1e-5)


def test_a_teacher_with_a_chat_template_is_asked_as_callers_asked(language_model, tmp_path):
    chat = tmp_path / "chat"
    causal(language_model).save_pretrained(chat)
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content + '' }}{% endfor %}<assistant>"
    )
    tokenizer.save_pretrained(chat)
    asked = Lesson("hi", "42", messages=[{"role": "user", "content": "Say: hi"}])
    scores, vocabulary = teacher(chat), language.vocabulary(chat)
    assert vocabulary.text(scores.question(asked)) == "<user>Say: hi<assistant>"
    assert scores.question(Lesson("hi", "42")) == vocabulary.question("hi")
    parts = Lesson("hi", "42", messages=[{"role": "user", "content": [{"type": "text"}]}])
    assert scores.question(parts) == []
    assert teacher(language_model).question(asked) == vocabulary.question("hi")


def test_a_local_teacher_must_have_the_students_tokens(language_model, tmp_path):
    strange = tmp_path / "strange"
    causal(language_model).save_pretrained(strange)
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    tokenizer.add_tokens(["Ω"])
    tokenizer.save_pretrained(strange)
    asked = Job(str(language_model), "", FEW, str(tmp_path), Recipe(), teacher=str(strange))
    with pytest.raises(ValueError, match="must have the student's tokens"):
        training.train(asked)


def test_a_thinned_model_has_the_first_the_last_and_some_between(other):
    model, whole = causal(other), causal(other)
    ids = torch.arange(5, 15)[None]
    thin = language.thinned(model, 2).eval()
    for kept, layer in zip(thin.model.layers, (0, 2), strict=True):
        for one, same in zip(
            kept.parameters(), whole.model.layers[layer].parameters(), strict=True
        ):
            assert torch.equal(one, same)
    # What was read is remembered layer by layer.
    said = thin.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=4)
    again = thin.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, use_cache=False
    )
    assert torch.equal(said, again)


@pytest.mark.parametrize("count", [1, 4])
def test_a_model_cannot_keep_what_it_does_not_have(other, count):
    with pytest.raises(ValueError, match=f"of 3 layers, {count} cannot be kept"):
        language.thinned(causal(other), count)


def test_a_thinned_student_serves(other, tmp_path):
    training.train(Job(str(other), "", FEW, str(tmp_path), Recipe(epochs=1), layers=2))
    (written,) = Engine(tmp_path / ENGINE).write(["abc 1234"], Sampling(4))
    assert len(written.logprobs) == 4 or written.finished


def test_what_the_student_writes_is_scored_and_not_learnt(language_model, other, vocabulary):
    torch.manual_seed(0)
    batch = examples_of(FEW, vocabulary, teacher(language_model).question)
    model = training.adapt(causal(other), rank=4)
    own = training.written(model, batch, 7, vocabulary.end)
    for one, example in zip(own, batch, strict=True):
        assert one.ids[: -one.answer] == example.ids[: -example.answer]
        assert one.answer <= 7
        assert one.answer == 7 or one.ids[-1] == vocabulary.end
        assert vocabulary.end not in one.ids[-one.answer : -1]
        assert one.asked == example.asked
    assert objective(causal(other), own, vocabulary.end).item() == 0
    assert objective(causal(other), own, vocabulary.end, teacher(language_model)).item() > 0.1


def test_a_student_that_writes_all_itself_comes_near_to_its_teacher(
    language_model, other, vocabulary, tmp_path
):
    """The answers that it is given are wrong, and it hears of none of them."""
    wrong = [Lesson(text, "".join(random.Random(0).choices("xyz", k=4))) for text, _ in pairs(48)]
    scores = teacher(language_model)
    right = examples_of([Lesson(*pair) for pair in pairs(30, seed=4)], vocabulary, scores.question)

    def apart(model):
        """Nats from the teacher where it is right."""
        scored = objective(model, right, vocabulary.end, scores).item()
        return scored - objective(model, right, vocabulary.end).item()

    model = causal(other)
    before = apart(model)
    adapted = training.adapt(model, rank=16)
    recipe = Recipe(epochs=8, rate=1e-2, on_policy=1.0)
    batch = examples_of(wrong, vocabulary, scores.question)
    training._fit(adapted, batch, [], vocabulary.end, recipe, scores)
    assert apart(adapted.merge_and_unload()) < 0.8 * before


def test_reasons_are_taught_beside_answers(language_model, vocabulary, tmp_path):
    """Who asks for the answer gets the answer; who asks for the reasons too, gets both."""
    traced = [Lesson(one.text, one.answer, trace="so") for one in FEW]
    answers, reasons = examples_of(traced, vocabulary), reasons_of(traced, vocabulary)
    assert reasons_of(FEW, vocabulary) == []
    for answer, reason, one in zip(answers, reasons, traced, strict=True):
        assert vocabulary.text(reason.ids) == f"[reason] {one.text}so\n{one.answer}"
        assert reason.weight == pytest.approx(answer.weight)
    many = [Lesson(*pair, trace="so") for pair in pairs(64)]
    report = training.train(
        Job(str(language_model), "", many, str(tmp_path), Recipe(epochs=12, rate=4e-3))
    )
    assert (report.examples, report.most_tokens) == (64, answers[0].answer)
    assert report.steps == 12 * 8
    asked = ["abc 1234", "[reason] abc 1234"]
    plain, both = Engine(tmp_path / ENGINE).write(asked, Sampling(12))
    assert plain.text == "1234"
    assert both.text.startswith("so\n")


def test_a_batch_weighs_its_examples_by_what_they_count(language_model, vocabulary):
    model = causal(language_model)
    (one, other_one, *_) = examples_of(FEW, vocabulary)
    half = Example(other_one.ids, other_one.answer, counts=0.5)
    alone = [objective(model, [each], vocabulary.end).item() for each in (one, half)]
    weighted = (alone[0] * one.answer + alone[1] * half.weight) / (one.answer + half.weight)
    together = objective(model, [one, half], vocabulary.end).item()
    assert together == pytest.approx(weighted, rel=1e-4)


def test_the_loop_teaches_what_the_log_keeps(language_model, tmp_path, monkeypatch):
    """Log-probabilities and reasoning, and the request where there is a teacher to read it."""
    made = []

    def run(asked):
        made.append(asked)
        raise TrainingError("enough is known")

    monkeypatch.setattr(job, "run", run)
    store = Store(tmp_path)
    kept = json.dumps([choice("7", [token("7", -0.1)], reasoning_content="because")])
    texts = [text for text, _ in pairs(450)]
    store.write([exchange(i, text, "7", "copy", choices=kept) for i, text in enumerate(texts)])
    several: list[dict[str, Any]] = [
        {},
        {"local_teacher": str(language_model), "language_layers": 5, "on_policy": 0.3},
    ]
    for loop in several:
        settings = LoopSettings(encoder=None, language_model=str(language_model), **loop)
        policy = PolicySettings(alpha=0.15)
        trainer = Trainer(TrainerSettings(data=tmp_path, policy=policy, loop=settings))
        trainer._aside._write(store.roster.task_state("copy"), 450)
    plain, scored = made
    for asked in made:
        assert asked.lessons[0].told == (("7", {"7": -0.1}),)
        assert asked.lessons[0].trace == "because"
    assert (plain.layers, plain.teacher, plain.recipe.on_policy) == (None, None, 0)
    assert not plain.lessons[0].messages
    assert (scored.layers, scored.teacher) == (5, str(language_model))
    assert scored.recipe.on_policy == 0.3
    assert scored.lessons[0].messages == messages(texts[0])


def test_a_job_comes_back_as_it_was_handed_over():
    told = [("4", {"4": -0.5}), ("2", {"2": -0.1})]
    asked = Job(
        "b", "c", [Lesson("hi", "42", told, "so", [{"role": "user"}])], "t", Recipe(), 3, "d"
    )
    found = job.read(json.dumps(asdict(asked)))
    assert found.recipe == asked.recipe
    assert [tuple(pair) for pair in found.lessons[0].told] == told
    assert (found.layers, found.teacher) == (3, "d")


def test_logits_are_of_answers_alone(language_model, vocabulary):
    """Of rows of unlike lengths, in their order."""
    rows = [(one.ids, one.answer) for one in examples_of([Lesson("a", "12"), *FEW], vocabulary)]
    model = causal(language_model)
    found = scorer.answer_logits(model, rows, vocabulary.end)
    expected = [
        model(input_ids=torch.tensor([ids])).logits[0, -answer - 1 : -1] for ids, answer in rows
    ]
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-3, atol=1e-3)
