"""Stored completions, feedback and the use of tasks, as the store finds them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, event

from telemetry.exchange import Exchange
from telemetry.schema import exchanges
from telemetry.store import Store, StoredPage, TaskUse
from tests.telemetry.test_store import exchange

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)

# Few values, so that they meet. The odd keys are what paths into JSON trip over.
keys = st.sampled_from(["a", 'a"b', "a.b", "é", "", "\\", "$"])
values = st.sampled_from(["x", "y", '"', "5"])
pairs = st.dictionaries(keys, values, max_size=3)
any_pairs = st.dictionaries(keys | st.just("\0"), values | st.just("\\\0"), max_size=3)


def completion(identifier: str, **more: Any) -> Exchange:
    return exchange(identifier, **{"completion_id": f"c-{identifier}", **more})


completions = st.fixed_dictionaries(
    {
        "created": st.sampled_from([1.0, 2.0, 2.5]),
        "model": st.sampled_from(["m", "n"]),
        "key": st.sampled_from([None, "k1", "k2"]),
        "metadata": st.none() | any_pairs.map(json.dumps),
        "status": st.sampled_from([200, 200, 200, 502]),
        "dialect": st.sampled_from(["chat", "chat", "chat", "responses"]),
        "request": st.sampled_from(["{}", "{}", "{}", None]),
        "finish_reason": st.sampled_from(["stop", "length", None]),
    }
)

any_rows = st.lists(completions, max_size=12).map(
    lambda rows: [completion(f"e{index}", **row) for index, row in enumerate(rows)]
)


def is_stored(row: Exchange) -> bool:
    complete = row.status == 200 and row.finish_reason is not None
    return complete and row.dialect == "chat" and row.request is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    rows=any_rows,
    limit=st.integers(1, 4),
    newest_first=st.booleans(),
    owner=st.sampled_from([None, "k1"]),
    model=st.sampled_from([None, "m"]),
    metadata=pairs,
)
def test_pages_show_every_stored_completion_once(
    store: Store,
    rows: list[Exchange],
    limit: int,
    newest_first: bool,
    owner: str | None,
    model: str | None,
    metadata: dict[str, str],
) -> None:
    with store.engine.begin() as connection:
        connection.execute(delete(exchanges))
    store.write(rows)
    wanted = [
        row.id
        for row in sorted(rows, key=lambda row: (row.created, row.id), reverse=newest_first)
        if is_stored(row)
        and owner in (None, row.key)
        and model in (None, row.model)
        and metadata.items() <= json.loads(row.metadata or "{}").items()
    ]
    page = StoredPage(limit, newest_first, model=model, metadata=metadata)
    shown: list[Exchange] = []
    while found := store.stored_page(page, owner):
        shown += found
        last = found[-1].completion_id
        assert last is not None
        after = store.place(last, newest_first=newest_first, owner=owner)
        page = dataclasses.replace(page, after=after)
    assert [row.id for row in shown] == wanted


@pytest.mark.parametrize("newest_first", [False, True])
def test_paging_ends_where_an_upstream_repeats_its_ids(store: Store, newest_first: bool) -> None:
    store.write([completion(f"e{i}", completion_id="same", created=float(i)) for i in range(9)])
    first = store.stored_page(StoredPage(4, newest_first))
    after = store.place("same", newest_first=newest_first)
    assert len(first) == 4
    assert store.stored_page(StoredPage(4, newest_first, after)) == []


def test_the_newest_of_an_id_that_is_the_owners(store: Store) -> None:
    store.write(
        [completion(f"e{i}", completion_id="same", created=float(i), key=f"k{i}") for i in range(3)]
    )
    newest, own = store.stored("same"), store.stored("same", "k1")
    assert newest is not None
    assert newest.id == "e2"
    assert own is not None
    assert own.id == "e1"
    assert store.stored("same", "k9") is None


def test_a_forgotten_exchange_keeps_its_cost_and_its_place(store: Store) -> None:
    written = completion(
        "e1",
        original="o",
        metadata="{}",
        choices="[]",
        right_answer="r",
        comment="c",
        cost=5,
        teacher_cost=7,
    )
    store.write([written])
    store.forget("e1")
    found = store.exchange("e1")
    assert found is not None
    texts = {
        name
        for name in Exchange.__slots__
        if getattr(found, name) is None and getattr(written, name) is not None
    }
    assert texts == {
        "request",
        "original",
        "metadata",
        "answer",
        "teacher_answer",
        "choices",
        "right_answer",
        "comment",
    }
    assert found.cost == 5
    assert store.stored("c-e1") is None
    assert store.place("c-e1", newest_first=True) == (written.created, "e1")
    assert store.teacher_answers("t") == []


def test_an_exchange_goes_by_its_own_id_or_its_completions(store: Store) -> None:
    store.write([completion("e1", key="k1"), completion("e2", key="k2")])
    for name in ("e1", "c-e1"):
        found = store.named(name, "k1")
        assert found is not None
        assert found.id == "e1"
        assert store.named(name, "k2") is None


@pytest.mark.parametrize(
    ("fields", "lesson"),
    [
        ({}, "yes"),
        ({"score": 0.0}, None),
        ({"score": 0.49}, None),
        ({"score": 0.5}, "yes"),
        ({"right_answer": "no"}, "no"),
        ({"right_answer": "no", "score": 0.0}, "no"),
        ({"right_answer": "no", "teacher_answer": None, "finish_reason": None}, "no"),
        ({"right_answer": "no", "request": None}, None),
        # What a person says of a student's answer says the opposite of a teacher that disagreed.
        ({"route": "student", "agreed": True, "score": 1.0}, "yes"),
        ({"route": "student", "agreed": True, "score": 0.0}, None),
        ({"route": "student", "agreed": False, "score": 0.0}, "yes"),
        ({"route": "student", "agreed": False, "score": 1.0}, None),
        ({"route": "student", "agreed": False}, "yes"),
    ],
)
def test_what_people_say_decides_what_is_learnt(
    store: Store, fields: dict[str, Any], lesson: str | None
) -> None:
    store.write([exchange(**fields)])
    lessons = [row.lesson for row in store.teacher_answers("t")]
    assert lessons == ([] if lesson is None else [lesson])
    assert store.teacher_answer_counts() == ({} if lesson is None else {"t": 1})


def test_the_last_verdict_replaces_the_one_before(store: Store) -> None:
    store.write([exchange()])

    def after(**opinion: float | str) -> tuple[float | None, str | None, str | None]:
        store.judge("e1", opinion)
        found = store.exchange("e1")
        assert found is not None
        return found.score, found.right_answer, found.comment

    assert after(score=0.0, comment="hm") == (0.0, None, "hm")
    assert after(right_answer="no") == (None, "no", "hm")
    assert after(comment="well") == (None, "no", "well")
    assert after(score=1.0) == (1.0, None, "well")
    assert after(score=0.0, right_answer="no") == (0.0, "no", "well")


def test_the_use_of_tasks(store: Store) -> None:
    store.write(
        [
            exchange("e1", task="b", created=10.0, key="k1"),
            exchange("e2", task="b", created=11.0, route="student", agreed=True),
            exchange("e3", task="b", created=12.0, route="student", agreed=False),
            exchange("e4", task="b", created=13.0, route="student"),
            exchange("e5", task="b", created=9.0),
            exchange("e6", task="a", created=10.0),
            exchange("e7", task="c", created=10.0, route="model"),
        ]
    )
    b = TaskUse("b", requests=4, by_student=3, audits=2, agreements=1)
    assert store.task_use("b", 10.0) == b
    assert store.task_use("b", 10.0, "k1") == TaskUse("b", 1, 0, 0, 0)
    assert store.task_use("c", 10.0) is None
    assert [use.task for use in store.tasks_in_use(10.0, "", 9)] == ["a", "b"]
    assert store.tasks_in_use(10.0, "a", 9) == [b]
    assert [use.task for use in store.tasks_in_use(10.0, "", 1)] == ["a"]


def test_nothing_is_scanned_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plans: list[str] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plans.extend(row[-1] for row in cursor.fetchall())

    after = (1.0, "e")
    for page in (StoredPage(5), StoredPage(5, True, after), StoredPage(5, after=after, model="m")):
        store.stored_page(page)
        store.stored_page(page, "k1")
    # A page is read in the order of its index; only rows of the very same time need sorting.
    assert {plan for plan in plans if "TEMP B-TREE" in plan} == {
        "USE TEMP B-TREE FOR RIGHT PART OF ORDER BY"
    }
    store.stored("c")
    store.named("c", "k1")
    store.place("c", newest_first=True)
    store.task_use("t", 1.0)
    store.tasks_in_use(1.0, "t", 5)
    assert {plan for plan in plans if "exchanges" in plan and "INDEX" not in plan} == set()
    assert sum("COVERING INDEX exchanges_task_created" in plan for plan in plans) == 2
    store.close()
