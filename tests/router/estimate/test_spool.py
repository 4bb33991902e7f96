"""Requests that wait on disk to be played."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.forecast import Request
from router.estimate.spool import Spool, Spooled, read
from telemetry.prices import Usage

TEXT = st.text(st.characters(codec="utf-8"))


def spooled(place: int, task: str, messages: list[dict[str, Any]], answer: str | None) -> Spooled:
    body = {"model": "auto", "messages": messages, "metadata": {"task": task}}
    request = Request(body, "", answer, Usage(1, 2, 3, 4), right_answer=f"right {place}")
    return Spooled(place, task, request, 10**15 + place)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@given(st.lists(st.tuples(st.integers(0, 100), TEXT, st.none() | TEXT), max_size=30))
def test_every_task_is_in_one_file_in_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, str | None]]
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    added = [
        spooled(place, f"task {number}", [user(text)], answer)
        for place, (number, text, answer) in enumerate(rows)
    ]
    with Spool(folder) as spool:
        for each in added:
            spool.add(each)
    files = [list(read(path)) for path in spool.files]
    of_file = [{each.task for each in file} for file in files]
    assert sum(len(tasks) for tasks in of_file) == len(set().union(*of_file))
    for file in files:
        assert [each.place for each in file] == sorted(each.place for each in file)
    again = sorted((each for file in files for each in file), key=lambda each: each.place)
    for before, after in zip(added, again, strict=True):
        assert (after.task, after.teacher_cost) == (before.task, before.teacher_cost)
        assert (after.request.body, after.request.answer, after.request.right_answer) == (
            before.request.body,
            before.request.answer,
            before.request.right_answer,
        )
        assert after.request.usage == before.request.usage
        assert after.request.text == before.request.body["messages"][0]["content"]


def test_turns_of_a_conversation_are_found(tmp_path: Path) -> None:
    first = [user("Where is my parcel?")]
    second = [*first, {"role": "assistant", "content": "On its way."}, user("Since when?")]
    with Spool(tmp_path) as spool:
        spool.add(spooled(0, "support", first, "On its way."))
        spool.add(spooled(1, "support", second, "Monday."))
        spool.add(spooled(2, "support", [user("Hello?")], "Hello."))
    (path,) = spool.files
    begun, followed, other = [each.request for each in read(path)]
    assert begun.follows not in (begun.turn, followed.turn)
    assert followed.follows == begun.turn
    assert other.follows not in (begun.turn, followed.turn)
