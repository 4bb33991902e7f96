"""The exchange store: what goes in comes out, and what may teach."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from config.loading import ConfigError
from telemetry.audits import AuditTally
from telemetry.exchange import Exchange, StudentRecord, TaskState
from telemetry.store import Audit, Store, StoreError
from tests.postgres import PASSWORD, QUOTED, Cluster

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def exchange(identifier: str = "e1", **more: Any) -> Exchange:
    usual = Exchange(
        id=identifier,
        created=100.0,
        task="t",
        route="teacher",
        model="m",
        reason="no_student",
        status=200,
        stream=False,
        sampled=True,
        request="{}",
        answer="yes",
        teacher_answer="yes",
        finish_reason="stop",
    )
    return dataclasses.replace(usual, **more)


def student(version: str, task: str = "t", serving: bool = True) -> StudentRecord:
    return StudentRecord(version, task, 1.0, f"students/{version}", serving, "passed", "{}")


_numbers = itertools.count()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    task=texts,
    answer=st.none() | texts,
    confidence=st.none() | st.floats(0, 1),
    agreed=st.none() | st.booleans(),
    cost=st.integers(0, 2**62),
    created=st.floats(0, 1e10),
)
def test_an_exchange_comes_back_as_it_was(store: Store, **fields: Any) -> None:
    written = exchange(f"e{next(_numbers)}", **fields)
    store.write([written])
    if store.engine.dialect.name == "postgresql":
        # It has no NUL.
        kept: dict[str, Any] = {
            name: value.replace("\0", "\ufffd") if isinstance(value, str) else value
            for name, value in fields.items()
        }
        written = dataclasses.replace(written, **kept)
    assert store.exchange(written.id) == written


def test_what_is_written_again_stays_as_it_is(store: Store) -> None:
    store.write([exchange("e")])
    store.write([], [Audit("e", "no", False, 1)])
    store.write([exchange("e"), exchange("f")], [Audit("e", "no", False, 1)])
    audited = exchange("e", teacher_answer="no", agreed=False, audit_cost=1)
    assert store.exchange("e") == audited
    assert store.exchange("f") == exchange("f")


def test_pairs_that_teach_no_more_are_imported_anew(store: Store) -> None:
    def pair(identifier: str, created: float = 100.0) -> Exchange:
        return exchange(identifier, created=created, route="imported", answer=None)

    assert store.import_pairs([], since=50.0) == 0
    assert store.import_pairs([pair("a"), pair("b"), pair("a"), pair("c")], since=50.0) == 3
    store.judge("b", {"score": 0.0})
    assert store.import_pairs([pair("a", 101.0), pair("d")], since=50.0) == 1
    assert store.exchange("a") == pair("a")
    store.forget("c")
    assert store.import_pairs([pair(each, 110.0) for each in "abcd"], since=50.0) == 1
    assert store.exchange("c") == pair("c", 110.0)
    # As after a demotion at Unix time 105.
    assert store.import_pairs([pair(each, 120.0) for each in "abcd"], since=105.0) == 3
    assert store.exchange("b") == dataclasses.replace(pair("b", 120.0), score=0.0)
    taught = store.teacher_answers("t", since=105.0)
    assert {row.id: row.created for row in taught} == {"a": 120.0, "c": 110.0, "d": 120.0}


def test_an_unknown_exchange(store: Store) -> None:
    assert store.exchange("nothing") is None


@pytest.mark.parametrize(
    ("fields", "teaches"),
    [
        ({}, True),
        ({"finish_reason": None}, False),
        ({"finish_reason": "length"}, False),
        ({"finish_reason": "content_filter"}, False),
        ({"teacher_answer": None}, False),
        ({"request": None}, False),
        ({"task": "another"}, False),
        ({"created": 49.0}, False),
        ({"route": "student", "sampled": False}, True),
    ],
)
def test_what_teaches(store: Store, fields: dict[str, Any], teaches: bool) -> None:
    store.write([exchange(**fields)])
    assert bool(store.teacher_answers("t", since=50.0)) == teaches


def test_the_newest_answers_oldest_first(store: Store) -> None:
    store.write([exchange(f"e{second}", created=float(second)) for second in range(10)])
    assert [row.id for row in store.teacher_answers("t", most=3)] == ["e7", "e8", "e9"]


def test_answers_of_one_moment_come_in_the_same_order_however_they_were_written(
    store: Store,
) -> None:
    """As those of a file that was imported do: else the same ones would make another dataset."""
    store.write([exchange(f"e{each}") for each in (3, 0, 2, 1)])
    assert [row.id for row in store.teacher_answers("t")] == ["e0", "e1", "e2", "e3"]
    assert [row.id for row in store.teacher_answers("t", most=2)] == ["e2", "e3"]


@pytest.mark.parametrize(
    ("most", "read"),
    [
        (None, "e0 e1 e2 p3 p4 p5 p6 p7"),
        (8, "e0 e1 e2 p4 p5 p6 p7"),
        (6, "e0 e1 e2 p5 p6 p7"),
        (4, "e1 e2 p6 p7"),
        (1, "e2"),
    ],
)
def test_imported_pairs_leave_half_of_the_places(store: Store, most: int | None, read: str) -> None:
    store.write([exchange(f"e{second}", created=float(second)) for second in range(3)])
    pairs = [exchange(f"p{each}", created=float(each), route="imported") for each in range(3, 8)]
    store.import_pairs(pairs, since=0.0)
    assert " ".join(row.id for row in store.teacher_answers("t", most=most)) == read


def test_counting_reads_only_what_teaches(store: Store) -> None:
    plans: list[str] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith("SELECT"):
            return
        explain = "EXPLAIN QUERY PLAN"
        if connection.dialect.name == "postgresql":
            explain = "EXPLAIN"
            # In an empty table anything is as good as an index.
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"{explain} {statement}", parameters)
        plans.extend(row[-1] for row in cursor.fetchall())

    store.teacher_answer_counts()
    assert any("exchanges_usable" in plan for plan in plans), plans


def test_answers_are_counted_from_the_tasks_epoch(store: Store) -> None:
    store.write([exchange(f"e{second}", created=float(second)) for second in range(10)])
    store.write([exchange("other", task="other")])
    assert store.teacher_answer_counts() == {"t": 10, "other": 1}
    store.roster.close_run(TaskState("t"), student("v1"))
    assert store.roster.demote("t", "v1", "audits disagree", now=7.0)
    assert store.teacher_answer_counts() == {"t": 3, "other": 1}


def test_audits(store: Store) -> None:
    served = {"route": "student", "student": "v1", "teacher_answer": None}
    sure = {**served, "reason": "student_confident"}
    store.write([exchange(f"e{number}", **sure) for number in range(4)])
    store.write([exchange("unsure", **{**served, "reason": "teacher_down"})])
    store.write([], [Audit("unsure", None, False, 1)])
    assert store.audit_blocks("v1").total == AuditTally(0, 0)
    store.write([], [Audit("e0", "yes", True, 5), Audit("e1", "no", False, 7)])
    store.write([], [Audit("e2", None, False, 1)])
    assert store.audit_blocks("v1").total == AuditTally(3, 2)
    assert store.audit_blocks("v2").total == AuditTally(0, 0)
    audited = store.exchange("e1")
    assert audited is not None
    assert (audited.teacher_answer, audited.agreed, audited.audit_cost) == ("no", False, 7)
    assert {row.id for row in store.teacher_answers("t")} == {"e0", "e1"}


def test_one_student_serves_a_task(store: Store) -> None:
    assert store.roster.close_run(TaskState("t"), student("v1"))
    assert store.roster.close_run(TaskState("t"), student("v2", serving=False))
    assert store.roster.close_run(TaskState("u"), student("u1", task="u"))
    assert [record.version for record in store.roster.serving()] == ["v1", "u1"]
    assert store.roster.close_run(TaskState("t"), student("v3"))
    assert {record.version for record in store.roster.serving()} == {"v3", "u1"}
    assert store.roster.students("t")[0].verdict == "replaced by v3"


def test_a_demotion_starts_a_new_epoch(store: Store) -> None:
    began = TaskState("t", attempts=3)
    store.roster.close_run(began, student("v1"))
    assert store.roster.demote("t", "v1", "audits disagree", now=200.0)
    assert store.roster.serving() == []
    assert store.roster.students("t")[0].verdict == "audits disagree"
    # What was spent of the error budget stays spent.
    assert store.roster.task_states()["t"] == TaskState("t", epoch=200.0, attempts=3)
    # A run that began before counts for nothing.
    assert not store.roster.close_run(began, student("v2"))
    assert [record.version for record in store.roster.students("t")] == ["v1"]
    # A late audit of a student that has gone says nothing of the next.
    assert store.roster.close_run(TaskState("t", epoch=200.0, attempts=4), student("v3"))
    assert not store.roster.demote("t", "v1", "again", now=300.0)
    assert [record.version for record in store.roster.serving()] == ["v3"]
    assert store.roster.task_states()["t"].epoch == 200.0


def test_of_two_students_tested_at_once_the_first_has_the_place(store: Store) -> None:
    """Both had the same part of the error budget, and each test is counted."""
    label = TaskState("t", attempts=1, tested_on=500, trained_on=500, trained_at=50.0)
    text = TaskState("t", attempts=1, tested_on=100, trained_on=400, trained_at=10.0)
    refused = student("text", serving=False)
    assert store.roster.close_run(label, student("label"), student("label", serving=False))
    assert store.roster.close_run(text, student("text"), refused) == refused
    assert [record.version for record in store.roster.serving()] == ["label"]
    after = dataclasses.replace(label, attempts=2)
    assert store.roster.task_states()["t"] == after
    # One that was not tested spends nothing, and one that began later is not overtaken.
    assert store.roster.close_run(text, student("untested", serving=False))
    assert store.roster.task_states()["t"] == after
    next_ = dataclasses.replace(after, attempts=3, trained_on=300, trained_at=60.0)
    assert store.roster.close_run(next_, student("next"), student("next", serving=False))
    assert [record.version for record in store.roster.serving()] == ["next"]
    assert store.roster.task_states()["t"] == next_


def test_a_test_that_a_demotion_overtook_is_counted(store: Store) -> None:
    store.roster.close_run(TaskState("t", attempts=3), student("v1"))
    assert store.roster.demote("t", "v1", "audits disagree", now=200.0)
    late = student("v2"), student("v2", serving=False)
    assert store.roster.close_run(TaskState("t", attempts=4), *late) is None
    assert store.roster.task_states()["t"] == TaskState("t", epoch=200.0, attempts=4)


def test_of_runs_that_made_the_same_student_one_registers_it(store: Store) -> None:
    together, ended, placed = threading.Barrier(4), [], []

    def close(number: int) -> None:
        together.wait()
        kept = store.roster.close_run(
            TaskState("t"), student("v1"), place=lambda: placed.append(number)
        )
        ended.append((number, kept))

    runs = [threading.Thread(target=close, args=(number,)) for number in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    (first,) = placed
    assert dict(ended) == {n: student("v1") if n == first else None for n in range(4)}
    assert [record.version for record in store.roster.serving()] == ["v1"]


def test_a_student_whose_files_cannot_be_put_in_place_is_not_registered(store: Store) -> None:
    def place() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        store.roster.close_run(TaskState("t", attempts=1), student("v1"), place=place)
    assert store.roster.every_student() == []
    assert store.roster.task_states() == {}


def test_a_task_is_put_off_and_nothing_else_of_it_changed(store: Store) -> None:
    began = TaskState("t", attempts=1, tested_on=90, trained_on=100, trained_at=20.0)
    store.roster.close_run(began, student("v1"))
    store.roster.put_off("t", 80, counted=30.0, now=40.0)
    after = dataclasses.replace(began, trained_on=80, trained_at=40.0)
    assert store.roster.task_states()["t"] == after
    # Of a run that has begun since, more is known.
    store.roster.put_off("t", 70, counted=30.0, now=50.0)
    assert store.roster.task_states()["t"] == dataclasses.replace(after, trained_at=50.0)
    assert store.roster.demote("t", "v1", "audits disagree", now=200.0)
    store.roster.put_off("t", 110, counted=60.0, now=210.0)
    assert store.roster.task_states()["t"] == TaskState("t", epoch=200.0, attempts=1)


def test_many_threads_write_at_once(store: Store) -> None:
    def write(thread: int) -> None:
        for number in range(20):
            store.write([exchange(f"e{thread}-{number}")])

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.teacher_answers("t")) == 80


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://u:secret@host/name",
        "sqlite:///secret.db",
        "postgresql://u:secret@host:secret/name",
        "postgresql://u:sec@secret@host/name",
    ],
)
def test_a_database_url_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Store(tmp_path, SecretStr(url))
    (line,) = caught.value.lines
    assert line.startswith("database: must be a URL such as postgresql://")
    assert "secret" not in line


def test_databases_that_cannot_be_opened(postgres_cluster: Cluster, tmp_path: Path) -> None:
    for url, reason in [
        (postgres_cluster.url("postgres", "secret"), "password authentication failed"),
        (postgres_cluster.url("nothing"), 'database "nothing" does not exist'),
        (SecretStr("postgresql://u:secret@127.0.0.1:9/name"), "Connection refused"),
        (SecretStr("postgresql://u:secret@host.invalid/name"), "host.invalid"),
        (SecretStr("postgresql://u:secret@127.0.0.1:9/name?no_such=secret"), "no_such"),
    ]:
        with pytest.raises(StoreError, match=f"^cannot open the database: .*{reason}") as caught:
            Store(tmp_path, url)
        assert "\n" not in str(caught.value)
        for password in ("secret", PASSWORD, QUOTED):
            assert password not in str(caught.value)


def test_connections_that_broke_are_replaced(postgres_cluster: Cluster, tmp_path: Path) -> None:
    store = Store(tmp_path, postgres_cluster.empty())
    store.write([exchange()])
    postgres_cluster.stop()
    postgres_cluster.start()
    assert store.exchange("e1") == exchange()
    store.close()


def test_the_folder_is_its_users_alone(tmp_path: Path) -> None:
    Store(tmp_path / "made" / "data").close()
    assert (tmp_path / "made" / "data").stat().st_mode & 0o777 == 0o700


def test_texts_are_no_part_of_errors(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE exchanges RENAME TO elsewhere")
    with pytest.raises(SQLAlchemyError) as caught:
        store.write([exchange(answer="something private")])
    assert "private" not in str(caught.value)


def test_a_demotion_and_a_run_that_ends_at_once(store: Store) -> None:
    """Whichever comes first, no student serves on evidence from before the demotion."""
    for number in range(10):
        task = f"t{number}"
        first, second = student(f"{task}-1", task), student(f"{task}-2", task)
        assert store.roster.close_run(TaskState(task), first)
        both = [
            threading.Thread(target=store.roster.demote, args=(task, first.version, "bad", 200.0)),
            threading.Thread(target=store.roster.close_run, args=(TaskState(task), second)),
        ]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        serving = [record.version for record in store.roster.serving() if record.task == task]
        epoch = store.roster.task_states()[task].epoch
        assert (serving, epoch) in [([], 200.0), ([second.version], 0.0)]
