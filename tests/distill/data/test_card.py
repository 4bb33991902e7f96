"""The data card that a student comes with, and texts that are too old to teach."""

import json
import time

import pytest

from config.settings import DatasetSettings, LoopSettings, PolicySettings
from distill import schedule
from distill.data.card import card
from distill.data.dataset import build
from distill.students.encoder import FOLDER, text_key
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from telemetry.exchange import TaskState
from telemetry.store import Store
from tests.distill import sentence_encoder
from tests.distill.synthetic import AT_ONCE, exchange, exchanges, stream

REFUSAL = "I'm sorry, but I can't assist with that."


def train_once(data, **dataset):
    settings = TrainerSettings(
        data=data,
        policy=PolicySettings(),
        loop=LoopSettings(encoder=None, rollout=AT_ONCE),
        dataset=DatasetSettings(**dataset),
    )
    looks = iter([False])
    Trainer(settings).run(lambda: next(looks, True))


def test_the_card_tells_what_the_data_are():
    rows = [
        exchange(0, "first text of all", "a"),
        exchange(1, "First text  of all", "a"),
        exchange(2, "second", "b", right_answer="c", model="other"),
        exchange(3, "third", REFUSAL),
        exchange(4, "", "a", request="not JSON"),
        exchange(5, "fourth", "a", route="student", sampled=True, propensity=0.1, agreed=True),
    ]
    data = build(rows)
    assert card(data, rows, {"truncated": 2}).as_json() == {
        "version": data.version,
        "answers": 5,
        "evidence": 5,
        "from": "1970-01-01T00:16:40+00:00",
        "until": "1970-01-01T00:16:45+00:00",
        "teachers": {"teacher": 4, "other": 1},
        "audits": 1,
        "imported": 0,
        "corrected": 1,
        "near_duplicates": 1,
        "not_learnt": {"refusal": 1},
        "left_out": {"unreadable": 1, "truncated": 2},
        "consistency": None,
        "private": {},
        "masked": False,
        "answers_by_label": {"a": 3},
        "other_answers": 1,
    }


def test_a_student_comes_with_the_card_of_its_data(tmp_path):
    store = Store(tmp_path)
    cut = [exchange(1000 + i, "cut", "a", finish_reason="length") for i in range(3)]
    early = exchange(-100, "before all that is used", "a", finish_reason="length")
    store.write([*exchanges(stream(300)), *cut, early])
    train_once(tmp_path)
    (record,) = store.roster.serving()
    told = json.loads(record.card)["data"]
    assert told["answers"] == 300
    assert told["left_out"] == {"truncated": 3}
    assert told["version"].startswith(record.version.rpartition("-")[2])
    assert (tmp_path / record.path / "card.json").read_text(encoding="utf-8") == record.card


def test_what_is_too_old_teaches_nobody_and_is_forgotten(tmp_path):
    store = Store(tmp_path)
    now, day = time.time(), 86400
    pairs = stream(500)
    old = [exchange(i, *pair, created=now - 40 * day) for i, pair in enumerate(pairs[:200])]
    new = [exchange(200 + i, *pair, created=now - day) for i, pair in enumerate(pairs[200:])]
    store.write(old + new)
    memory = sentence_encoder.remember(tmp_path / FOLDER, ["old"], created=now - 40 * day)
    train_once(tmp_path, retention_days=30)
    assert memory.get([text_key("old")]) == {}
    (record,) = store.roster.serving()
    assert json.loads(record.card)["data"]["answers"] == 300
    assert store.teacher_answers("support") == new
    forgotten = store.exchange("support-0")
    assert forgotten is not None
    assert (forgotten.request, forgotten.answer) == (None, None)


def test_a_student_is_trained_again_when_what_it_learnt_is_gone():
    loop = LoopSettings(first=100, interval_s=60)
    states = {"a": TaskState("a", trained_on=300, trained_at=1000.0)}
    assert list(schedule.due({"a": 200}, states, 1030.0, loop, {}, {})) == []
    assert list(schedule.due({"a": 200}, states, 1060.0, loop, {}, {})) == ["a"]
    assert list(schedule.due({"a": 90}, states, 1060.0, loop, {}, {})) == []


@pytest.mark.parametrize(("suspects", "some"), [("drop", True), ("keep", False)])
def test_the_card_counts_the_suspects_that_were_not_taught(tmp_path, suspects, some):
    store = Store(tmp_path)
    store.write(exchanges(stream(400, noise=0.35)))
    train_once(tmp_path, suspects=suspects)
    (record,) = store.roster.students("support")
    told = json.loads(record.card)["data"]
    assert (told["suspects"] > 20) is some
    assert told["evidence"] == 400


def test_without_a_limit_nothing_is_forgotten(tmp_path):
    store = Store(tmp_path)
    store.write(exchanges(stream(20)))
    train_once(tmp_path)
    assert len(store.teacher_answers("support")) == 20
