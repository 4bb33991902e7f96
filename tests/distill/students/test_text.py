"""Text students: from teacher answers to a language model in service."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from config.settings import LoopSettings, PolicySettings
from distill.data.dataset import build
from distill.data.reach import Former
from distill.runs import text as text_run
from distill.runs.challenge import Challenge
from distill.students.base import TEXT
from distill.students.classifier import Calibration
from distill.students.extraction import answers as extraction
from distill.students.ladder import Ladder
from distill.students.text import engine as engines
from distill.students.text import language, student, training
from distill.students.text.engine import Engine, Sampling, Written
from distill.students.text.examples import examples_of
from distill.students.text.job import ADAPTER, ENGINE, Job, Recipe
from distill.students.text.language import LanguageModelError
from distill.students.text.lesson import Lesson
from distill.students.text.objective import objective
from distill.students.text.rung import confidences
from distill.students.text.shortlist import shortlist
from distill.students.text.student import Start
from distill.students.usage import UsageModel
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from telemetry import jobs
from telemetry.exchange import StudentRecord, TaskState
from telemetry.store import Store
from tests.distill.language_model import BEGIN, EIGHT_BITS, END, PAIR, pairs
from tests.distill.synthetic import AT_ONCE, exchange, messages
from tests.router.server import Server

LENGTH = 5
"""Tokens of an answer, the mark of the end included."""


@pytest.fixture(scope="module")
def engine(language_model, tmp_path_factory):
    """The language model as it would serve."""
    folder = tmp_path_factory.mktemp("engine")
    engines.convert(language_model, language.vocabulary(language_model), folder)
    return Engine(folder)


@pytest.fixture(scope="module")
def made(language_model, tmp_path_factory):
    """A student of 300 answers, trained in a process of its own, and how that went."""
    scratch = tmp_path_factory.mktemp("trained")
    start = Start(language_model, scratch, scratch, Recipe(epochs=2))
    return student.train(start, lessons(300))


@pytest.fixture(scope="module")
def trained(made):
    return made[0]


def lessons(count):
    return [Lesson(*pair) for pair in pairs(count)]


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_every_text_comes_back_from_its_tokens(language_model, text):
    vocabulary = language.vocabulary(language_model)
    *ids, end = vocabulary.answer(text)
    assert vocabulary.text(ids) == text
    assert end == vocabulary.end


def test_callers_cannot_write_marks(language_model):
    vocabulary = language.vocabulary(language_model)
    begin, *text, end = vocabulary.question(f"a{END}{BEGIN}b")
    assert (begin, end) == (vocabulary.begin, vocabulary.end)
    assert not {begin, end} & set(text)


def test_a_text_without_utf8_has_tokens(language_model):
    assert language.vocabulary(language_model).question("half \ud83d a pair")


def test_what_serves_says_what_the_model_says(language_model, engine):
    """The same tokens as transformers, and nearly the same log-probabilities."""
    vocabulary = language.vocabulary(language_model)
    model = AutoModelForCausalLM.from_pretrained(language_model)
    texts = [text for text, _ in pairs(10, seed=2)]
    for text, written in zip(texts, engine.write(texts, Sampling(12)), strict=True):
        ids = torch.tensor([vocabulary.question(text)])
        said = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=12,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        tokens = said.sequences[0, ids.shape[1] :]
        logprobs = [
            float(torch.log_softmax(logits[0], -1)[token])
            for logits, token in zip(said.logits, tokens, strict=True)
        ]
        assert written.text == vocabulary.text(tokens.tolist())
        assert written.logprobs == pytest.approx(logprobs, abs=EIGHT_BITS)


def test_questions_of_all_lengths_are_answered_as_if_alone(engine):
    texts = ["abc 1234", "a 1", "abc 1234 and much more of this, for a while", "h", "hhh 9999"] * 8
    together = engine.write(texts, Sampling(12))
    alone = [engine.write([text], Sampling(12))[0] for text in texts[:5]] * 8
    assert [one.text for one in together] == [one.text for one in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def test_an_answer_ends_at_its_mark_its_limit_or_a_stop_text(engine):
    (whole,) = engine.write(["abc 1234"], Sampling(12))
    assert (whole.text, whole.finished, len(whole.logprobs)) == ("1234", True, LENGTH)
    (cut,) = engine.write(["abc 1234"], Sampling(2))
    assert (cut.text, cut.finished, len(cut.logprobs)) == ("12", False, 2)
    (stopped,) = engine.write(["abc 1234"], Sampling(12, stop=("3", "23")))
    assert (stopped.text, stopped.finished) == ("1", True)


def test_answers_are_drawn_at_random_where_that_is_asked_for(engine):
    # Of a text that it knows nothing of, a model is unsure what to say.
    texts = ["?!"] * 16
    assert len({one.text for one in engine.write(texts, Sampling(8))}) == 1
    assert len({one.text for one in engine.write(texts, Sampling(8, temperature=1.5))}) > 1
    narrow = engine.write(texts, Sampling(8, temperature=1.5, top_p=1e-6))
    assert len({one.text for one in narrow}) == 1


def test_a_student_whose_answers_are_of_few_tokens_writes_no_others(engine, trained):
    def found(engine):
        """Whether the pair is written, of tokens that are all as likely: some 28 times in so many,
        and 0.1 times by its letters alone."""
        written = engine.write(["abc 1234"] * 128, Sampling(64, temperature=1000.0))
        return sum(one.text.count(PAIR) for one in written) > 5

    own = Engine(trained.rung.folder / ENGINE)
    assert (found(engine), found(own)) == (True, False)
    texts = [text for text, _ in pairs(10, seed=2)]
    for one in own.write([*texts, PAIR], Sampling(12)):
        assert one.finished
    # What it cannot write it reads.
    assert own.write([f"{PAIR} 1234"], Sampling(12))[0].text == "1234"


@given(st.lists(st.lists(st.integers(2, 257), max_size=8), max_size=300))
def test_answers_that_want_new_tokens_now_and_then_may_have_any(language_model, answers):
    vocabulary = language.vocabulary(language_model)
    chosen = shortlist(answers, vocabulary)
    alone = [
        answer
        for i, answer in enumerate(answers)
        if set(answer) - set(chain.from_iterable(answers[:i] + answers[i + 1 :]))
    ]
    assert (chosen is None) == (len(alone) > len(answers) / 200)
    # Each of two has what it needs.
    twice = shortlist(answers * 2, vocabulary)
    assert twice is not None
    assert set(chain.from_iterable(answers)) <= set(twice)
    assert set(vocabulary.answer("\x00Any word.")[:-1]) <= set(twice)


def test_a_student_is_tested_on_what_it_was_not_trained_on(made):
    trained, report = made
    assert report.examples == 300 - trained.held.sum()
    assert 30 <= trained.held.sum() <= 90
    assert trained.agreed[trained.held].mean() > 0.9
    assert not trained.agreed[~trained.held].any()
    assert not trained.confidences[~trained.held].any()


def test_no_text_of_a_caller_stays_with_a_student(trained):
    text, answer = pairs(300)[0]
    for file in trained.rung.folder.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert text.encode() not in content
        assert answer.encode() not in content


def test_the_same_answers_give_the_same_student(language_model, tmp_path):
    recipe = Recipe(epochs=1, rank=4)
    for name in ("one", "other"):
        job = Job(str(language_model), "", lessons(40), str(tmp_path / name), recipe)
        report = training.train(job)
        assert report.steps == 3
    one, other = (
        load_file(tmp_path / name / ADAPTER / "adapter_model.safetensors")
        for name in ("one", "other")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    # Whatever it is computed in, what is learnt is kept in 32 bits.
    assert {weight.dtype for weight in one.values()} == {torch.float32}


def test_a_training_keeps_to_its_time(language_model, tmp_path):
    recipe = Recipe(epochs=10**6, cpu_s=0.5)
    report = training.train(Job(str(language_model), "", lessons(40), str(tmp_path), recipe))
    assert 0.5 <= report.cpu_s < 5
    assert report.epochs < 10**4


def test_a_training_without_time_for_a_step_says_so(language_model, tmp_path):
    recipe = Recipe(cpu_s=1e-9)
    with pytest.raises(ValueError, match="not enough for one step"):
        training.train(Job(str(language_model), "", lessons(40), str(tmp_path), recipe))
    assert not list(tmp_path.iterdir())


def test_a_training_that_nobody_wants_any_more_writes_nothing(
    language_model, tmp_path, monkeypatch
):
    fit = training._fit

    def orphaned(*arguments):
        monkeypatch.setattr("os.getppid", lambda: 1)
        return fit(*arguments)

    monkeypatch.setattr(training, "_fit", orphaned)
    with pytest.raises(SystemExit, match="gone"):
        training.train(Job(str(language_model), "", lessons(40), str(tmp_path), Recipe()))
    assert not list(tmp_path.iterdir())


def test_only_answers_count_in_the_loss(language_model):
    """Another question before the same answer changes no target, and padding changes nothing."""
    vocabulary = language.vocabulary(language_model)
    (short, long) = examples_of([Lesson("ab 12", "12"), Lesson("abcdef 123", "a123")], vocabulary)
    causal = AutoModelForCausalLM.from_pretrained(language_model)
    alone = [objective(causal, [one], vocabulary.end).item() for one in (short, long)]
    together = objective(causal, [short, long], vocabulary.end).item()
    weights = [short.answer, long.answer]
    assert together == pytest.approx(np.average(alone, weights=weights), rel=1e-4)
    ids = torch.tensor([short.ids])
    labels = ids.clone()
    labels[:, : -short.answer] = -100
    assert alone[0] == pytest.approx(causal(input_ids=ids, labels=labels).loss.item(), rel=1e-4)


def test_a_batch_in_parts_teaches_the_same(language_model, monkeypatch):
    vocabulary = language.vocabulary(language_model)
    batch = examples_of([Lesson(text * 3, answer) for text, answer in pairs(7)], vocabulary)

    def learnt():
        model = AutoModelForCausalLM.from_pretrained(language_model)
        adapted = training.adapt(model, rank=4)
        torch.manual_seed(0)
        for weight in (one for one in adapted.parameters() if one.requires_grad):
            torch.nn.init.normal_(weight, std=0.1)
        loss = training._learn(adapted, batch, vocabulary.end, None, 0.0)
        gradients = [one.grad for one in adapted.parameters() if one.requires_grad]
        return loss, torch.cat([one.ravel() for one in gradients])

    whole, gradient = learnt()
    monkeypatch.setattr(training, "_AT_ONCE", 2 * max(len(example.ids) for example in batch))
    in_parts, added_up = learnt()
    assert in_parts == pytest.approx(whole, rel=1e-4)
    torch.testing.assert_close(added_up, gradient, rtol=1e-3, atol=1e-5)


def test_there_are_models_in_folders_and_packages(language_model, tmp_path, monkeypatch):
    assert language.find(str(language_model)) == language_model
    package = tmp_path / "carrying_a_model"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LanguageModelError, match="carrying_a_model"):
        language.find("carrying_a_model")
    gguf = package / "small.gguf"
    gguf.write_bytes(b"")
    assert language.find("carrying_a_model") == gguf
    with pytest.raises(LanguageModelError, match=r"small\.gguf"):
        language.prepare(gguf, tmp_path / "cache")
    assert not any((tmp_path / "cache").iterdir())


def test_a_rung_comes_back_from_its_files(trained, tmp_path):
    texts = [text for text, _ in pairs(20, seed=3)]
    before = trained.rung.predict(texts)
    trained.rung.save(tmp_path)
    assert type(trained.rung).load(tmp_path).predict(texts) == before
    assert trained.rung.predict([]) == []


def test_a_rung_is_not_sure_of_what_it_does_not_know(trained):
    known, strange = trained.rung.predict(["bad 1230", "Où est la bibliothèque, s'il vous plaît ?"])
    assert known.answer == "1230"
    assert known.confidence > 0.5
    assert strange.confidence == 0.0


def test_an_answer_without_an_end_is_never_sure():
    calibration = Calibration(1.0, 0.0, 0.0)
    written = [Written("a", (0.0,), True), Written("a", (0.0,), False)]
    sure, unsure = confidences(written, np.ones(2), calibration)
    assert sure > 0.9
    assert unsure == 0.0


@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 20)), max_size=60))
def test_the_test_parts_no_group(rows):
    texts, groups = [text for text, _ in rows], [group for _, group in rows]
    held = student.held_out(texts, groups)
    assert len({*zip(groups, held.tolist(), strict=True)}) == len(set(groups))


def test_the_test_keeps_its_texts_as_answers_grow():
    texts = [text for text, _ in pairs(2000)]
    held = student.held_out(texts, texts)
    assert held.mean() == pytest.approx(student.HELD_OUT, abs=0.03)
    assert (student.held_out(texts[:500], texts[:500]) == held[:500]).all()


def test_a_server_without_a_text_student_carries_nothing_of_it():
    code = "import sys, distill.students.ladder; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "ctranslate2", "tokenizers"} & set(done.stdout.split())


def record(answers, serving=False, share=0.0, rungs=("text",)):
    card = {"data": {"answers": answers}, "rungs": rungs, "gate": {"share": share}}
    return StudentRecord("v", "task", 0.0, "", serving, "", json.dumps(card))


def test_a_text_student_is_trained_where_it_can_pay():
    assert text_run.is_due([], 500)
    assert text_run.is_due([record(500, rungs=("ngram",))], 500)
    assert not text_run.is_due([record(500)], 999)
    assert text_run.is_due([record(500)], 1000)
    assert text_run.is_due([record(300, serving=True, share=0.5, rungs=("ngram",))], 500)
    assert not text_run.is_due([record(300, serving=True, share=0.9, rungs=("ngram",))], 500)


def trainer(data, language_model, alpha=0.15):
    loop = LoopSettings(encoder=None, language_model=str(language_model), rollout=AT_ONCE)
    return Trainer(TrainerSettings(data=data, policy=PolicySettings(alpha=alpha), loop=loop))


def learn(trainer):
    """One look for work, and what is trained beside it."""
    looks = iter([False])
    trainer.run(lambda: next(looks, True))
    for thread in threading.enumerate():
        if thread.name == "aside":
            thread.join()


@pytest.fixture
def nothing_copied(monkeypatch):
    """What these students write could be copied from the request, so that none would be needed."""
    monkeypatch.setattr(extraction, "_LEAST_COVER", 2.0)


def served(data):
    """The route, the model and the text of a real server's answer; its teacher is not there."""
    where = ("--teacher-base-url", "http://127.0.0.1:9/v1")
    asked: Any = messages("dad 4567")
    with Server(data, *where, PROTEGE_LOOP__ENABLED="false") as server:
        answer = server.client().chat.completions.with_raw_response.create(
            model="auto", messages=asked, metadata={"task": "copy"}
        )
        headers, content = answer.headers, answer.parse().choices[0].message.content
        return headers["x-protege-route"], headers["x-protege-model"], content


@pytest.mark.usefixtures("nothing_copied")
def test_the_loop_gives_a_task_of_open_answers_a_student(language_model, tmp_path):
    store = Store(tmp_path)
    store.write([exchange(i, *pair, "copy") for i, pair in enumerate(pairs(450))])
    learn(trainer(tmp_path, language_model))
    (serving,) = store.roster.serving()
    card = json.loads(serving.card)
    assert card["rungs"] == ["text"]
    assert card["gate"]["share"] > 0.5
    assert card["data"]["answers"] == 450
    state = store.roster.task_states()["copy"]
    assert (state.attempts, state.trained_on) == (1, 450)
    ladder = Ladder.load(tmp_path / serving.path)
    (prediction,) = ladder.rungs[0].predict(["dad 4567"])
    assert prediction.answer == "4567"
    assert prediction.confidence >= ladder.threshold
    assert not list((tmp_path / "training").iterdir())
    assert not ladder.usage.completion
    assert served(tmp_path) == ("student", serving.version, "4567")


def test_a_text_student_is_tested_beside_the_labels_among_its_answers(language_model, tmp_path):
    known = [f"{text[:3]} {i % 5}000" for i, (text, _) in enumerate(pairs(200))]
    rows = [*((text, text[4:]) for text in known), *pairs(250, seed=2)]
    data = build([exchange(i, *pair, "copy") for i, pair in enumerate(rows)])
    start = Start(language_model, tmp_path, tmp_path / "scratch", Recipe(epochs=2))
    policy = PolicySettings(alpha=0.15)
    run = text_run.retrain(Challenge("v", data, TaskState("copy"), policy), start)
    assert run is not None
    assert set(run.labels) == {"0000", "1000", "2000", "3000", "4000"}
    assert run.verdict.promoted
    assert run.rungs[-1] == "text"


@pytest.mark.usefixtures("nothing_copied")
def test_a_text_student_waits_for_the_evidence_that_it_needs(language_model, tmp_path):
    store, loop = Store(tmp_path), trainer(tmp_path, language_model, alpha=0.1)
    answers = [exchange(i, *pair, "copy") for i, pair in enumerate(pairs(450))]
    store.write(answers[:300])
    learn(loop)
    *_, kept = store.roster.students("copy")
    assert json.loads(kept.card)["rungs"] == ["text"]
    assert (kept.placed, kept.path != "") == (False, True)
    store.write(answers[300:])
    learn(loop)
    (serving,) = store.roster.serving()
    card = json.loads(serving.card)
    assert card["again"] == kept.version
    # The same model: nothing has been trained.
    model = Path(TEXT) / ENGINE / "model.bin"
    before, after = ((tmp_path / each.path / model).read_bytes() for each in (kept, serving))
    assert before == after
    assert card["gate"]["evidence"] > 150
    assert [job.model for job in jobs.page(store.engine, 9, None, {})][0::2] == ["retest", "text"]


def test_what_a_text_student_was_taught_is_no_evidence_later():
    rows = [*pairs(60), *pairs(3), *pairs(20, seed=4)]
    data = build([exchange(i, *pair, "copy") for i, pair in enumerate(rows)])
    old = data.examples[:60]
    held = {example.id for example in old[::5]}
    ladder = Ladder("v", "copy", 0.5, 0.5, "", (), UsageModel(0, 0, {}, 0), trained=old[-1].created)
    unseen = text_run.unseen(data, Former(ladder, dict.fromkeys(held, True)))
    taught = {example.text for example in old if example.id not in held}
    expected = [example.id in held or example.text not in taught for example in data.examples]
    assert unseen.tolist() == expected
    assert not unseen[61]
    assert unseen[63:].all()


def test_a_text_student_is_tested_again_where_there_is_more_to_test_it_with():
    state = TaskState("task", epoch=7.0)
    kept = kept_record(answers=500, since=7.0)
    assert text_run.waiting([kept], state, 600) == kept
    assert text_run.waiting([kept], state, 599) is None
    assert text_run.waiting([kept], TaskState("task", epoch=8.0), 600) is None
    assert text_run.waiting([replace(kept, path="")], state, 600) is None
    assert text_run.waiting([replace(kept, earned=9.0)], state, 600) is None
    assert text_run.waiting([replace(kept, serving=True)], state, 600) is None
    assert text_run.waiting([record(300, rungs=("ngram",))], state, 600) is None
    full = record(300, serving=True, share=0.9, rungs=("ngram",))
    assert text_run.waiting([kept, full], state, 600) is None
    # What was only tested is trained anew once the answers have doubled since the training.
    again = kept_record(answers=900, since=7.0, again="v")
    assert not text_run.is_due([kept, again], 999)
    assert text_run.is_due([kept, again], 1000)


def kept_record(answers, since, again=None):
    card = {"data": {"answers": answers, "since": since}, "rungs": ["text"], "gate": {}}
    card["again"] = again
    return StudentRecord("v", "task", 0.0, "students/v", False, "", json.dumps(card))


@pytest.mark.usefixtures("nothing_copied")
def test_no_text_student_is_trained_where_its_test_would_be_too_small(language_model, tmp_path):
    store = Store(tmp_path)
    store.write([exchange(i, *pair, "copy") for i, pair in enumerate(pairs(200))])
    learn(trainer(tmp_path, language_model, alpha=0.1))
    assert [json.loads(one.card)["rungs"] for one in store.roster.students("copy")] == [[]]


@pytest.mark.usefixtures("nothing_copied")
def test_a_text_student_that_fails_harms_nobody(language_model, tmp_path, caplog):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in ("config.json", "tokenizer.json"):
        (broken / file).write_bytes((language_model / file).read_bytes())
    store = Store(tmp_path)
    store.write([exchange(i, *pair, "copy") for i, pair in enumerate(pairs(450))])
    learn(trainer(tmp_path, broken))
    # A process of its own has failed, and said why.
    assert "no file named model.safetensors" in caplog.text.splitlines()[-1]
    assert store.roster.serving() == []
    state = store.roster.task_states()["copy"]
    assert (state.trained_on, state.attempts) == (450, 0)


def test_a_language_model_that_is_not_there_is_missed_once(tmp_path, caplog):
    trainer(tmp_path, tmp_path / "nothing")
    (line,) = caplog.messages
    assert line.endswith("no text students will be trained")
