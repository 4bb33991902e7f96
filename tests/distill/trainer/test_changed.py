"""A task is retrained once its teacher or its instruction has changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import event

from config.settings import LoopSettings, PolicySettings
from distill.card import Card
from distill.runs import label
from distill.trainer.changed import Changed
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from telemetry import jobs
from telemetry.exchange import Exchange, StudentRecord, TaskState
from telemetry.store import Store
from tests.distill.data.test_instructions import PLAIN, POLITE, asked, named
from tests.distill.data.test_teachers import newer
from tests.distill.synthetic import AT_ONCE, exchange, exchanges, stream

OLD = exchanges(stream(400))


class Loop:
    """A trainer of a store whose tasks fall due neither by growth nor by the timer."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.store = Store(data)
        loop = LoopSettings(encoder=None, rollout=AT_ONCE, growth=100, interval_s=1e9, **settings)
        self._trainer = Trainer(TrainerSettings(data=data, policy=PolicySettings(), loop=loop))

    def look(self) -> list[str]:
        """Look for work; how each of the jobs so far began, the oldest first."""
        looks = iter([False])
        self._trainer.run(lambda: next(looks, True))
        made = jobs.page(self.store.engine, 20, None, {})
        return [jobs.events(self.store.engine, job.id, 20)[-1].message for job in made][::-1]


FIRST = "The learning loop began to train: it has 400 answers."
NEWER = "The learning loop began to train: its teacher is newer now."


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    loop = Loop(tmp_path)
    loop.store.write(OLD)
    assert loop.look() == [FIRST]
    return loop


def learnt(loop: Loop) -> Card:
    newest = loop.store.roster.newest("support")
    assert newest is not None
    return Card.parse(newest.card)


def test_a_replaced_teacher_is_learnt_from_at_once(loop: Loop) -> None:
    rows = newer(260)
    loop.store.write(rows[:199])
    assert loop.look() == [FIRST]
    loop.store.write(rows[199:])
    assert loop.look() == [FIRST, NEWER]
    assert learnt(loop).data.teachers == {"newer": 260}
    # Once.
    loop.store.write(newer(400)[260:])
    assert loop.look() == [FIRST, NEWER]


def test_a_run_amid_the_change_is_not_the_last(tmp_path: Path) -> None:
    """It was taught by both teachers, mostly by the old one."""
    rows = newer(260)
    loop = Loop(tmp_path)
    loop.store.write(OLD + rows[:100])
    loop.look()
    assert learnt(loop).data.teachers == {"teacher": 400, "newer": 100}
    loop.store.write(rows[100:])
    assert loop.look()[1:] == [NEWER]


def test_a_model_that_stood_in_is_no_new_teacher(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    rows = exchanges(stream(900))
    spare = [replace(row, model="spare") for row in rows[300:390]]
    loop.store.write([*rows[:300], *spare, *rows[390:400]])
    assert loop.look() == [FIRST]
    assert learnt(loop).data.teachers == {"teacher": 310, "spare": 90}
    loop.store.write(rows[400:])
    assert loop.look() == [FIRST]


def test_no_run_is_made_with_too_few_answers_of_the_new_teacher(tmp_path: Path) -> None:
    loop = Loop(tmp_path, first=300)
    loop.store.write(OLD)
    loop.look()
    rows = newer(360)
    loop.store.write(rows[:290])
    assert loop.look() == [FIRST]
    loop.store.write(rows[290:])
    assert loop.look() == [FIRST, NEWER]


def test_what_comes_to_nothing_is_tried_once(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(label, "retrain", broken)
    rows = newer(600)
    for start in range(0, 600, 200):
        loop.store.write(rows[start : start + 200])
        loop.look()
    assert loop.look() == [FIRST, NEWER]


def test_a_new_instruction_is_learnt_as_soon_as_it_is_known(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    pairs = stream(600)
    loop.store.write(asked(pairs[:400], PLAIN))
    assert loop.look() == [FIRST]
    loop.store.write(asked(pairs[400:449], POLITE, 400))
    assert loop.look() == [FIRST]
    loop.store.write(asked(pairs[449:500], POLITE, 449))
    told = f"{FIRST.split(':')[0]}: it has a new instruction, {named(POLITE).split('-')[-1]}."
    assert loop.look() == [FIRST, told]
    assert learnt(loop).data.instructions == tuple(sorted([named(PLAIN), named(POLITE)]))
    loop.store.write(asked(pairs[500:], POLITE, 500))
    assert loop.look() == [FIRST, told]


def test_an_instruction_that_is_asked_again_is_learnt_again(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    pairs = stream(500)
    loop.store.write(asked(pairs[:150], PLAIN) + asked(pairs[150:400], POLITE, 150))
    loop.look()
    assert learnt(loop).data.instructions == (named(POLITE),)
    loop.store.write(asked(pairs[400:], PLAIN, 400))
    assert len(loop.look()) == 2
    assert learnt(loop).data.instructions == tuple(sorted([named(PLAIN), named(POLITE)]))


@pytest.fixture
def store(tmp_path: Path, database: SecretStr | None) -> Iterator[Store]:
    store = Store(tmp_path, database)
    yield store
    store.close()


def of_old(learnt: list[Exchange]) -> StudentRecord:
    """The record of a student that has learnt from answers of the old teacher."""
    card = Card.parse(f'{{"data": {{"teachers": {{"teacher": {len(learnt)}}}}}}}')
    return StudentRecord("support-1", "support", 1.0, "", False, "kept", card.text)


def test_it_is_cheap_to_look_where_nothing_has_come(store: Store) -> None:
    """And the new queries give the same in both databases."""
    state = TaskState("support", trained_on=400, trained_at=1.0)
    store.roster.close_run(state, of_old(OLD))
    audit = exchange(9000, "an audit", "billing", route="student", model="support-1")
    store.write([*OLD, *newer(250), audit, exchange(0, "other", "x", "other", model="third")])
    assert store.newest_models("support", 0.0, 251) == [*["newer"] * 250, "teacher"]
    assert store.newest_models("support", 1600.0, 300) == ["newer"] * 50
    assert store.newest_requests("support", 0.0, 2)[0] == audit.request
    queries: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *args: queries.append(args[2]))
    changed, now = Changed(store, first=170), time.time()
    told = {"support": "its teacher is newer now"}
    states = {"support": state}
    assert changed.since_last_run({"support": 650}, states, now) == told
    looked = len(queries)
    assert looked
    assert changed.since_last_run({"support": 650}, states, now + 999) == told
    assert changed.since_last_run({"support": 699}, states, now + 59) == told
    assert len(queries) == looked
    assert changed.since_last_run({"support": 651}, states, now + 60) == told
    assert len(queries) > looked
