"""First students of many tasks: none waits while the texts of others are embedded."""

import json
import random

import pytest

from config.settings import LoopSettings, PolicySettings
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from policies.calibration import attempt_delta
from telemetry.store import Store
from tests.distill import sentence_encoder
from tests.distill.synthetic import AT_ONCE, WORDS, exchange, exchanges, stream

POLICY = PolicySettings()


def half_told(seed):
    """Texts of which n-grams tell the labels of some, and nothing those of the others."""
    rng = random.Random(seed)
    blind = [(f"odd strange matter {i}", rng.choice(list(WORDS))) for i in range(160)]
    return [*stream(240, seed), *blind]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def trainer(tmp_path):
    folder = sentence_encoder.table(tmp_path / "base" / "tiny", ["a"])
    sentence_encoder.place(folder, tmp_path / "encoder")
    loop = LoopSettings(encoder=str(folder), tuning_minutes=0, rollout=AT_ONCE)
    return Trainer(TrainerSettings(data=tmp_path, policy=POLICY, loop=loop))


def look(trainer, passes=1):
    looks = iter([False] * passes)
    trainer.run(lambda: next(looks, True))


def made(store, task):
    """How the versions of the task's students end, and whether each was tested and serves."""
    records = store.roster.students(task)
    tested = [json.loads(one.card)["gate"]["delta"] for one in records]
    return [
        ("ngrams" if one.version.endswith("-ngrams") else "all", delta, one.placed)
        for one, delta in zip(records, tested, strict=True)
    ]


def test_while_others_wait_a_first_student_reads_ngrams_alone(store, trainer):
    trainer.prepare_encoder()
    for seed, task in enumerate(("a", "b")):
        store.write(exchanges(half_told(seed), task))
    look(trainer)
    first = "a" if store.roster.students("a") else "b"
    last = "b" if first == "a" else "a"
    assert made(store, first) == [("ngrams", None, False)]
    look(trainer)
    # For the last one nobody waits.
    whole = ("all", attempt_delta(POLICY.delta, 1), True)
    assert made(store, last) == [whole]
    look(trainer)
    # Its test is the first one: nothing of the error budget was spent in the hurry.
    assert made(store, first) == [("ngrams", None, False), whole]
    look(trainer, 2)
    assert len(made(store, first)) == 2
    assert len(made(store, last)) == 1


def test_what_ngrams_tell_of_nearly_all_requests_serves_at_once(store, trainer):
    trainer.prepare_encoder()
    for seed, task in enumerate(("a", "b", "c")):
        store.write(exchanges(stream(240, seed), task))
    look(trainer, 2)
    assert len(store.roster.serving()) == 2
    look(trainer, 4)
    assert [len(made(store, task)) for task in ("a", "b", "c")] == [1, 1, 1]


def test_what_was_trained_before_the_encoder_was_ready_is_trained_with_it(store, trainer):
    store.write(exchanges(half_told(0)))
    look(trainer, 2)
    assert made(store, "support") == [("ngrams", None, False)]
    trainer.prepare_encoder()
    look(trainer, 2)
    whole = ("all", attempt_delta(POLICY.delta, 1), True)
    assert made(store, "support") == [("ngrams", None, False), whole]


def test_a_demotion_ends_the_wait_for_the_encoder(store, trainer):
    store.write(exchanges(half_told(0)))
    look(trainer)
    (record,) = store.roster.students("support")
    assert store.roster.promote("support", record.version, "by hand", now=4000.0)
    store.roster.demote("support", record.version, "audits broke the bound", now=5000.0)
    rows = enumerate(stream(5, seed=1), start=5000)
    store.write([exchange(i, text, answer) for i, (text, answer) in rows])
    trainer.prepare_encoder()
    look(trainer, 2)
    assert len(made(store, "support")) == 1
