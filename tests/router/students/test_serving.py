"""What it takes to ask a student."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distill.students.base import TEXT, Prediction
from distill.students.ladder import Ladder
from distill.students.usage import UsageModel
from router.students import serving
from router.students.serving import Student, Students
from telemetry.store import Store
from tests.router.taught import TASK, promote

WORK_S = 0.05


@dataclass
class Slow:
    """A rung that computes in the thread that asks it, or in one of its own as engines do."""

    name: str
    elsewhere: bool
    fast = False

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        if self.elsewhere:
            with ThreadPoolExecutor(1) as engine:
                engine.submit(work).result()
        else:
            work()
        return [Prediction("cat", 1.0) for _ in texts]


def work() -> None:
    started = time.thread_time()
    while time.thread_time() - started < WORK_S:
        pass


@pytest.mark.parametrize(("name", "elsewhere"), [("both", False), (TEXT, True)])
async def test_computing_is_counted_wherever_it_is_done(name: str, elsewhere: bool) -> None:
    rungs: Any = (Slow(name, elsewhere),)
    usage = UsageModel(0.25, 0.0, {}, 0.0, None)
    ladder = Ladder("v1", "task", 0.5, 1.0, "", rungs, usage)
    with ThreadPoolExecutor(1) as executor, ThreadPoolExecutor(1) as writer:
        asked = await Student(ladder, executor, writer).predict("the cat sleeps")
    assert asked.prediction.answer == "cat"
    assert asked.compute_s >= 0.9 * WORK_S


async def test_whoever_was_replaced_does_not_answer_for_one_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    students = Students(store, tmp_path)

    async def serves() -> str | None:
        await students.refresh()
        student = students.of(TASK)
        return None if student is None else student.version

    promote(store, tmp_path, "animals-1")
    assert await serves() == "animals-1"
    promote(store, tmp_path, "animals-2")
    manifest = tmp_path / "students" / "animals-2" / "ladder.json"
    text = manifest.read_text()
    manifest.write_text("")
    monkeypatch.setattr(serving, "RETRY_S", 1.0)
    assert await serves() is None
    await asyncio.sleep(1.1)
    assert await serves() is None
    manifest.write_text(text)
    # It is not tried with every look at the store.
    assert await serves() is None
    await asyncio.sleep(1.1)
    assert await serves() == "animals-2"
    assert [each.levelno for each in caplog.records] == [logging.ERROR]
    await students.stop()
    store.close()
