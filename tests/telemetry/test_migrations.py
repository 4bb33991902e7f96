"""Databases of older versions become today's, with nothing lost, whoever opens them first."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Engine, MetaData, Table, create_engine, inspect, make_url

from telemetry import migrations, postgres
from telemetry.audits import AuditTally
from telemetry.exchange import Exchange, StudentRecord, TaskState
from telemetry.figures import sums
from telemetry.rollup import roll_up
from telemetry.schema import metadata
from telemetry.store import Store, StoreError
from tests.postgres import Cluster

FIRST = Path(__file__).parent / "first_schema.sql"
"""The schema before revisions were counted, as SQLite shows it."""

Open = Callable[[], Store]


@pytest.fixture
def open_store(tmp_path: Path, database: SecretStr | None) -> Open:
    return lambda: Store(tmp_path, database)


@pytest.fixture
def engine(tmp_path: Path, database: SecretStr | None) -> Any:
    """A way into the database that the store has no part in."""
    url = make_url(database.get_secret_value() if database else f"sqlite:///{tmp_path}/protege.db")
    engine = create_engine(url)
    yield engine
    engine.dispose()


def create_first(engine: Engine) -> None:
    with engine.begin() as connection:
        for statement in FIRST.read_text().split(";\n"):
            if statement:
                connection.exec_driver_sql(statement)


def insert(engine: Engine, table: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(Table(table, MetaData(), autoload_with=connection).insert(), values)


USUAL = {
    "created": 100.5,
    "task": "t",
    "route": "teacher",
    "model": "m",
    "reason": "no_student",
    "status": 200,
    "stream": False,
    "sampled": True,
    "request": '{"messages": []}',
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "cost": 5_000_000_000,
    "teacher_cost": 6,
    "audit_cost": 7,
    "latency_s": 0.25,
}
"""Fields of an exchange."""

TOLD = {"answer": "yes", "teacher_answer": "yes", "finish_reason": "stop", "confidence": 0.5}


def insert_exchange(engine: Engine, identifier: str, **more: Any) -> None:
    insert(engine, "exchanges", **{**USUAL, "id": identifier, **more})


def shape(engine: Engine) -> Any:
    """All that a schema says of itself, whatever the order it was said in."""
    inspector = inspect(engine)

    def columns(table: str) -> list[Any]:
        told = inspector.get_columns(table)
        return sorted((each["name"], str(each["type"]), each["nullable"]) for each in told)

    def indexes(table: str) -> list[Any]:
        return sorted(
            (each["name"], each["column_names"], each["unique"], where(each))
            for each in inspector.get_indexes(table)
        )

    def where(index: Any) -> str:
        options = index.get("dialect_options", {})
        return str(options.get(f"{engine.dialect.name}_where"))

    return {
        table: (columns(table), inspector.get_pk_constraint(table), indexes(table))
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def differences(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, metadata))


def alembic(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_the_newest_revision_is_the_one_that_the_code_speaks_of() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_current_head() == migrations.HEAD


def test_the_first_revision_is_the_first_schema(engine: Engine) -> None:
    alembic(engine, "0001")
    upgraded = shape(engine)
    with engine.begin() as connection:
        for table in upgraded:
            connection.exec_driver_sql(f"DROP TABLE {table}")
    create_first(engine)
    assert upgraded == shape(engine)


def test_a_new_database_has_todays_schema(engine: Engine, open_store: Open) -> None:
    open_store().close()
    assert differences(engine) == []


def test_all_revisions_together_are_todays_schema(engine: Engine, open_store: Open) -> None:
    alembic(engine, "head")
    assert differences(engine) == []
    revised = shape(engine)
    with engine.begin() as connection:
        for table in [*revised, "alembic_version"]:
            connection.exec_driver_sql(f"DROP TABLE {table}")
    open_store().close()
    assert revised == shape(engine)


def test_a_database_of_the_last_version(engine: Engine, open_store: Open) -> None:
    create_first(engine)
    insert_exchange(engine, "plain", **TOLD)
    insert_exchange(engine, "student", route="student")
    sure = {"route": "student", "student": "v1", "reason": "student_confident"}
    insert_exchange(engine, "audited", created=104.0, agreed=False, **sure)
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}], "é": '"x"'}
    called = {"response": json.dumps(message), "finish_reason": "tool_calls"}
    insert_exchange(engine, "called", created=101.0, **called)
    odd = {"response": '{"refusal":"no"}', "finish_reason": '"\\'}
    insert_exchange(engine, "odd", created=102.0, **odd)
    insert_exchange(engine, "unfinished", created=103.0, response='{"refusal":"no"}')
    insert(
        engine,
        "students",
        version="v1",
        task="t",
        created=1.0,
        path="students/v1",
        serving=True,
        verdict="passed",
        card="{}",
    )
    figures = {"attempts": 2, "tested_on": 3, "trained_on": 4, "trained_at": 5.0}
    insert(engine, "tasks", task="t", epoch=50.0, **figures)

    store = open_store()
    upgraded = Exchange(id="plain", attempts=1, **USUAL, **TOLD)  # type: ignore[arg-type]
    assert store.exchange("plain") == upgraded
    answered = store.exchange("student")
    assert answered is not None
    assert answered.attempts == 0
    assert store.audit_blocks("v1").whole == [AuditTally(1, 1)]
    assert choices(store, "called") == [
        {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
    ]
    assert choices(store, "odd")[0]["finish_reason"] == '"\\'
    assert choices(store, "unfinished")[0]["finish_reason"] is None
    assert [row.id for row in store.teacher_answers("t")] == ["plain"]
    record = StudentRecord("v1", "t", 1.0, "students/v1", True, "passed", "{}", earned=1.0)
    assert store.roster.serving() == [record]
    assert store.roster.task_states() == {"t": TaskState("t", epoch=50.0, **figures)}  # type: ignore[arg-type]
    store.close()
    assert differences(engine) == []
    # Once.
    store = open_store()
    assert choices(store, "called")[0]["message"] == message
    store.close()


def choices(store: Store, identifier: str) -> Any:
    exchange = store.exchange(identifier)
    assert exchange is not None
    assert exchange.choices is not None
    return json.loads(exchange.choices)


def test_sums_are_made_again_with_what_they_lacked(engine: Engine, open_store: Open) -> None:
    alembic(engine, "0013")
    asked = {**USUAL, "attempts": 0, "cached_tokens": 0, "reasoning_tokens": 0, "dialect": "chat"}
    audited = {"route": "student", "agreed": True, "audit_cost": 8}
    for number, more in enumerate(({}, audited)):
        insert(engine, "exchanges", **{**asked, "id": str(number), **more})
    for table, period in (("hourly_sums", "hour"), ("daily_sums", "day")):
        names = {column["name"]: 1 for column in inspect(engine).get_columns(table)}
        group = {"task": "t", "route": "student", "model": "m", "key": ""}
        insert(engine, table, **{**names, **group, period: 0})
    insert(engine, "rolled_up", id=1, until=24, late=3)
    store = open_store()
    for _ in range(2):
        (found,) = sums(store.engine, 0, 7200.0)
        assert (found.requests, found.audit_cost, found.pair_audit_cost) == (2, 15, 8)
        roll_up(store.engine, 1e6)
    store.close()


@pytest.mark.parametrize("old", [False, True])
def test_many_that_start_at_once(engine: Engine, open_store: Open, old: bool) -> None:
    if old:
        create_first(engine)
        insert_exchange(engine, "e", response='{"refusal":"no"}', finish_reason="stop")
    with ThreadPoolExecutor(4) as replicas:
        for store in list(replicas.map(lambda _: open_store(), range(4))):
            if old:
                assert choices(store, "e")[0]["message"] == {"refusal": "no"}
            store.close()
    assert differences(engine) == []


def test_an_upgrade_waits_for_what_is_under_way(
    postgres_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LOCK_WAIT_S", 0.1)
    database = postgres_cluster.empty()
    engine = postgres.connect(database)
    create_first(engine)
    other = engine.connect()
    other.exec_driver_sql("LOCK TABLE exchanges IN ACCESS SHARE MODE")
    leaves = threading.Timer(0.6, other.close)
    leaves.start()
    Store(tmp_path, database).close()
    leaves.join()
    assert differences(engine) == []
    engine.dispose()


def test_a_new_file_that_another_process_is_at(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "protege.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    leaves = threading.Timer(0.3, other.rollback)
    leaves.start()
    Store(tmp_path).close()
    leaves.join()
    other.close()


def test_an_upgrade_that_fails_changes_nothing(engine: Engine, open_store: Open) -> None:
    create_first(engine)
    # It is in the way of the last of the changes.
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE keys (id INTEGER)")
    before = shape(engine)
    with pytest.raises(StoreError, match=r"cannot open the \w+.*exists"):
        open_store()
    assert shape(engine) == before
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE keys")
    open_store().close()
    assert differences(engine) == []


def test_a_database_of_a_newer_version(engine: Engine, open_store: Open) -> None:
    open_store().close()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"its schema \(9999\) is newer than this version"):
        open_store()


def test_opening_todays_database_does_without_alembic(tmp_path: Path) -> None:
    program = "import sys, pathlib, telemetry.store as s; s.Store(pathlib.Path(sys.argv[1]))"
    show = "; print(*(m for m in ('alembic', 'psycopg') if m in sys.modules))"
    for _ in range(2):
        command = [sys.executable, "-c", program + show, str(tmp_path)]
        assert subprocess.run(command, check=True, capture_output=True).stdout.strip() == b""
