"""A task's own encoder: when it is tuned, on what, and what students make of it."""

import json
import os
import random
import threading
import time
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest

from config.loading import load
from config.settings import LoopSettings, PolicySettings
from distill.data.dataset import build
from distill.forecast import Play, Request
from distill.runs import own_encoder
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from distill.students import apart
from distill.students.apart import TrainingError
from distill.students.encoder import SentenceEncoder
from distill.students.ladder import Ladder
from distill.students.tuned import job, training
from distill.students.tuned.job import Job, Recipe, Report
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from telemetry import jobs
from telemetry.exchange import TaskState
from telemetry.prices import Usage
from telemetry.store import Store
from tests.distill import sentence_encoder
from tests.distill.synthetic import AT_ONCE, WORDS, exchange, messages, stream

LABELS = tuple(WORDS)
STATE = TaskState("support")
WORDS_IN_ALL = 5000
"""Of those that have a secret."""


def secret(word):
    """The label of a word, which no part of it tells."""
    return random.Random(word).randrange(len(LABELS))


def hidden(count, seed=0):
    """Texts whose label is that of a word which hardly any other has."""
    rng = random.Random(seed)
    words = [f"w{rng.randrange(WORDS_IN_ALL)}" for _ in range(count)]
    return [(f"{word} {rng.choice('abcde')}", LABELS[secret(word)]) for word in words]


def rows_of(pairs):
    return [exchange(i, *pair) for i, pair in enumerate(pairs)]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    words = chain(("invoice", "crash", "login"), map(str, range(50)))
    return sentence_encoder.bert(tmp_path_factory.mktemp("encoder") / "bert", words)


def asked_of(bert, target, pairs, **recipe):
    texts, classes = [text for text, _ in pairs], [label for _, label in pairs]
    folds = [i % 3 for i in range(len(texts))]
    return Job(str(bert), texts, classes, folds, str(target), Recipe(rate=5e-3, **recipe))


def test_an_encoder_learns_what_it_is_tuned_on(bert, tmp_path):
    words, rng = ("invoice", "crash", "login"), random.Random(0)
    pairs = []
    for i in range(300):
        label = rng.randrange(3)
        pairs.append((f"{i % 50} {words[label]} {rng.randrange(50)}", label))
    report = job.run(asked_of(bert, tmp_path / "own", pairs))
    own = SentenceEncoder.open("own", tmp_path)
    assert report.texts == 300
    assert report.epochs == 8
    assert report.agreed > 0.9
    said = own.embed(["7 crash 8", "9 login 10"])
    assert said.argmax(axis=1).tolist() == [1, 2]
    # Log-ratios add up to nothing.
    assert said.sum(axis=1) == pytest.approx([0, 0], abs=1e-4)
    assert own.tuned


def test_what_callers_wrote_is_in_no_file_while_a_training_reads_it(tmp_path):
    job = {"text": "h\u00e9llo", "folder": str(tmp_path)}
    said = apart.run("tests.distill.onlooker", job, tmp_path)
    assert said == {"text": "h\u00e9llo", "found": []}


def test_what_is_remembered_of_a_text_was_said_without_it(bert, tmp_path):
    """Of labels that were drawn blindly, nobody knows who has not been told."""
    rng = random.Random(0)
    pairs = [(f"{i // 50} {i % 50}", rng.randrange(2)) for i in range(400)]
    (tmp_path / "own").mkdir()
    report = training.tune(asked_of(bert, tmp_path / "own", pairs, epochs=(40, 40)))
    own = SentenceEncoder.open("own", tmp_path, remember=True)
    texts, classes = [text for text, _ in pairs], np.array([label for _, label in pairs])
    told = (own.forgetful().embed(texts).argmax(axis=1) == classes).mean()
    untold = (own.embed(texts).argmax(axis=1) == classes).mean()
    assert told > 0.75
    assert 0.4 < untold < 0.6
    assert report.agreed == pytest.approx(untold, abs=0.01)


def test_the_time_of_a_tuning_is_shared_out_among_its_trainings(bert, tmp_path, monkeypatch):
    allowed = []

    def paced(batches, _steps, cpu_s, _warm):
        allowed.append(cpu_s)
        return ((1.0, batch) for batch in islice(batches, 1))

    monkeypatch.setattr(training, "paced", paced)
    pairs = [(f"{i % 50} {i % 7}", i % 2) for i in range(300)]
    (tmp_path / "own").mkdir()
    report = training.tune(asked_of(bert, tmp_path / "own", pairs, cpu_s=60.0))
    # Two thirds of the texts three times, then all.
    assert allowed == pytest.approx([40 / 3] * 3 + [20.0])
    assert 0 < report.epochs < 1


def test_a_tuning_that_fails_says_why(tmp_path):
    with pytest.raises(TrainingError, match="the training ended with 1: "):
        job.run(Job(str(tmp_path / "nowhere"), ["a"], [0], [0], str(tmp_path / "own")))


def test_fewer_texts_are_seen_more_often():
    assert [Recipe().epochs_of(count) for count in (1, 1000, 3000, 6000)] == [8, 8, 5, 3]


@pytest.mark.parametrize(
    ("answers", "share", "tuned_on", "due"),
    [
        (499, 0.0, 0, False),
        (500, 0.0, 0, True),
        (749, 0.5, 500, False),
        (750, 0.5, 500, True),
        (5000, 0.8, 500, False),
    ],
)
def test_an_encoder_is_tuned_where_it_can_help(answers, share, tuned_on, due):
    assert own_encoder.is_due(answers, share, tuned_on) is due


@pytest.fixture
def asked(monkeypatch):
    """The tunings that were asked for. What they come to is an encoder that knows the secret."""
    made: list[Job] = []

    def run(asked):
        made.append(asked)
        words = [f"w{i}" for i in range(WORDS_IN_ALL)]
        vectors = {word: np.eye(3)[secret(word)] - 1 / 3 for word in words}
        sentence_encoder.own(Path(asked.target), vectors)
        return Report(len(asked.texts), 8.0, 1.0, 1.0, 0.9)

    monkeypatch.setattr(job, "run", run)
    return made


@pytest.fixture
def base(tmp_path):
    """An encoder that knows no word of ``hidden``."""
    folder = sentence_encoder.table(tmp_path / "base" / "tiny", ["a"])
    sentence_encoder.place(folder, tmp_path / "encoder")
    return folder


def tune(base, cache, pairs, **changes):
    data = build(rows_of(pairs))
    data = replace(data, examples=tuple(replace(one, **changes) for one in data.examples))
    encoder = SentenceEncoder.open(str(base), cache)
    return own_encoder.tune(STATE, len(data), data, 0.1, encoder, cache, cpu_s=60.0)


def test_it_is_tuned_on_the_answers_near_duplicates_together(asked, base, tmp_path):
    pairs = stream(400)
    twice = [*pairs, *pairs[:100]]
    own = tune(base, tmp_path / "encoder", twice)
    assert own is not None
    (made,) = asked
    assert made.recipe.cpu_s == 60
    assert sorted(made.texts) == sorted(text for text, _ in twice)
    place = {label: made.classes[made.texts.index(text)] for text, label in pairs}
    assert [place[label] for _, label in twice] == made.classes
    folds = dict(zip(made.texts, made.folds, strict=True))
    assert [folds[text] for text in made.texts] == made.folds
    assert set(made.folds) == {0, 1, 2}
    assert (tmp_path / "encoder" / own.name / "LICENSE").read_text() == "You may."
    # The same answers make the same encoder.
    assert tune(base, tmp_path / "encoder", twice) == own
    assert len(asked) == 1


def test_what_a_tuning_has_left_that_was_ended_goes_with_time(asked, base, tmp_path):
    left = [tmp_path / "encoder" / f".tuned-{name}" for name in ("old", "new")]
    for folder in left:
        (folder / "tmp").mkdir(parents=True)
    os.utime(left[0], (time.time() - 90_000,) * 2)
    assert tune(base, tmp_path / "encoder", stream(300))
    assert [folder.exists() for folder in left] == [False, True]


def test_none_is_tuned_that_nobody_would_read(asked, base, tmp_path):
    rng = random.Random(0)
    blind = [(text, rng.choice(LABELS)) for text, _ in stream(300)]
    opened = [(text, f"{text} {i}") for i, (text, _) in enumerate(stream(300))]
    forms = [
        (text, json.dumps({"kind": label, "hour": i % 24}))
        for i, (text, label) in enumerate(stream(300))
    ]
    for pairs in (blind, opened, forms):
        assert tune(base, tmp_path / "encoder", pairs) is None
    assert not asked


def settings(data, base, minutes=15.0):
    loop = LoopSettings(encoder=str(base), tuning_minutes=minutes, rollout=AT_ONCE)
    return TrainerSettings(data=data, policy=PolicySettings(alpha=0.1), loop=loop)


def look(trainer, passes):
    """So many looks for work, and what is made beside it."""
    for _ in range(passes):
        looks = iter([False])
        trainer.run(lambda looks=looks: next(looks, True))
        for thread in threading.enumerate():
            if thread.name == "aside":
                thread.join()


def begun(data, base, **changes):
    """A trainer whose encoder is ready."""
    trainer = Trainer(settings(data, base, **changes))
    trainer.prepare_encoder()
    return trainer


def labelled(count, seed=0):
    """Half of the texts are told by n-grams, the others by an encoder of the task's own alone."""
    return [
        one
        for pair in zip(stream(count // 2, seed), hidden(count // 2, seed), strict=True)
        for one in pair
    ]


def test_the_loop_tunes_an_encoder_and_has_a_student_read_it(asked, base, tmp_path):
    store = Store(tmp_path)
    store.write(rows_of(labelled(600)))
    trainer = begun(tmp_path, base)
    look(trainer, 1)
    (first,) = store.roster.serving()
    assert len(asked) == 1
    look(trainer, 1)
    (second,) = store.roster.serving()
    before, after = (json.loads(one.card) for one in (first, second))
    assert before["rungs"] != after["rungs"]
    assert after["rungs"][-1] == "tuned"
    assert after["gate"]["share"] > before["gate"]["share"] + 0.2
    assert second.version.startswith(f"{first.version}-tuned-")
    # The second test spends its own part of the error budget.
    assert store.roster.task_states()["support"].attempts == 2
    # As a server loads it.
    (prediction,) = Ladder.load(tmp_path / second.path).predict([hidden(300)[7][0]])
    assert prediction.answer == hidden(300)[7][1]
    shown = [one for one in jobs.page(store.engine, 10, None, {}) if one.model == "encoder"]
    assert [(one.status, one.student) for one in shown] == [("succeeded", None)]
    told = [event.message for event in jobs.events(store.engine, shown[0].id, 5)]
    assert "The task has an encoder of its own: 90.0% of 600" in told[0]
    # Nothing is left to do: not even by a trainer that has just begun.
    look(trainer, 2)
    look(begun(tmp_path, base), 2)
    assert len(asked) == 1
    assert store.roster.task_states()["support"].attempts == 2


def test_a_clock_that_is_set_back_after_a_tuning_has_nothing_trained_again(asked, base, tmp_path):
    store = Store(tmp_path)
    store.write(rows_of(labelled(600)))
    look(begun(tmp_path, base), 1)
    (about,) = (tmp_path / "encoder").glob("tuned-*/tuned.json")
    own = json.loads(about.read_text()) | {"created": time.time() + 3600}
    about.write_text(json.dumps(own))
    look(begun(tmp_path, base), 4)
    assert [one.model for one in jobs.page(store.engine, 10, None, {})] == ["encoder", "auto"]


def test_an_encoder_from_before_a_demotion_is_no_reason_to_train(asked, base, tmp_path):
    store = Store(tmp_path)
    store.write(rows_of(labelled(600)))
    trainer = begun(tmp_path, base)
    look(trainer, 1)
    assert len(asked) == 1
    # As a broken promise leaves it: all but twenty answers no longer count.
    (record,) = store.roster.placed()
    assert store.roster.demote("support", record.version, "audits broke the bound", now=1580.0)
    look(trainer, 1)
    assert store.roster.task_states()["support"].trained_at == 0
    assert len(store.roster.students("support")) == 1


def test_a_cancelled_tuning_leaves_nothing(base, tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.write(rows_of(labelled(600)))

    def run(asked):
        sentence_encoder.own(Path(asked.target), {"w": [0.0] * 3})
        (running,) = [
            one for one in jobs.page(store.engine, 5, None, {}) if one.status == "running"
        ]
        assert jobs.cancel(store.engine, running.id, 0.0)
        return Report(600, 8.0, 1.0, 1.0, 0.9)

    monkeypatch.setattr(job, "run", run)
    look(begun(tmp_path, base), 2)
    assert not list((tmp_path / "encoder").glob("*tuned-*"))
    assert store.roster.task_states()["support"].attempts == 1


def test_an_encoder_does_not_fit_texts_that_are_cut_elsewhere(asked, base, tmp_path):
    own = tune(base, tmp_path / "encoder", stream(300))
    data = build(rows_of(stream(310)))
    assert own.fits(data)
    assert not own.fits(replace(data, head="x"))
    assert not own.fits(replace(data, masked=True))


def test_without_minutes_no_encoder_is_tuned(asked, base, tmp_path):
    Store(tmp_path).write(rows_of(labelled(600)))
    look(begun(tmp_path, base, minutes=0.0), 2)
    assert not asked


def test_a_tuning_that_fails_is_not_tried_again_on_the_same(base, tmp_path, monkeypatch):
    tried = []

    def run(asked):
        tried.append(asked)
        raise TrainingError("no memory")

    monkeypatch.setattr(job, "run", run)
    store = Store(tmp_path)
    rows = rows_of(labelled(1000))
    store.write(rows[:600])
    trainer = begun(tmp_path, base)
    look(trainer, 3)
    assert len(tried) == 1
    (failed,) = [one for one in jobs.page(store.engine, 10, None, {}) if one.model == "encoder"]
    assert failed.status == "failed"
    assert not list((tmp_path / "encoder").glob("*tuned-*"))
    store.write(rows[600:])
    look(trainer, 2)
    assert len(tried) == 2


def test_encoders_that_nobody_reads_are_deleted(asked, base, tmp_path):
    cache = tmp_path / "encoder"
    owned = [tune(base, cache, stream(300 + i)) for i in range(4)]
    names = [own.name for own in owned if own is not None]
    assert own_encoder.newest(cache)["support"].name == names[-1]
    own_encoder.prune(cache, "other", ())
    own_encoder.prune(cache, "support", {names[0]})
    assert sorted(one.name for one in cache.glob("tuned-*")) == sorted([names[0], *names[2:]])


def test_a_student_is_tested_once_more_where_its_encoder_is_new(asked, base, tmp_path):
    pairs = labelled(600)
    own = tune(base, tmp_path / "encoder", pairs)
    assert own is not None
    encoder = SentenceEncoder.open(own.name, tmp_path / "encoder", remember=True)
    state = TaskState("support", attempts=1, tested_on=600, trained_at=1600.0)
    challenge = Challenge("v", build(rows_of(pairs)), state, PolicySettings(alpha=0.1))

    def run(renewed):
        return retrain(challenge, tuned=encoder, renewed=renewed)

    assert run(renewed=False).verdict.delta is None
    assert run(renewed=True).verdict.promoted


def test_a_forecast_tunes_as_the_loop_does(asked, base, tmp_path):
    encoder = SentenceEncoder.open(str(base), tmp_path / "encoder")
    settings = load(None, {"policy": {"alpha": 0.1}})

    def played(tuned):
        play = Play(settings, encoder, random.Random(0), tuned)
        steps = play.run(
            [Request({"messages": messages(text)}, text, label, Usage()) for text, label in pairs]
        )
        return sum(step.route == "student" for step in steps[-400:])

    pairs = labelled(1200)
    assert not asked
    untuned = played(None)
    assert not asked
    assert played(tmp_path / "tuned") > untuned
    assert asked
    assert [len(one.texts) for one in asked] == sorted(len(one.texts) for one in asked)
