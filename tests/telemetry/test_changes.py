"""Changes of service are written down with what makes them, whoever does."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import create_engine, make_url

from telemetry import changes
from telemetry.changes import ChangeTally
from telemetry.exchange import StudentRecord, TaskState
from telemetry.store import Store
from tests.telemetry.test_migrations import alembic, insert


def record(version: str, created: float, *, serving: bool = True) -> StudentRecord:
    return StudentRecord(version, "t", created, f"students/{version}", serving, "passed", "{}")


def tallies(store: Store) -> list[tuple[str, str, int]]:
    return [(one.change, one.cause, one.count) for one in changes.tallies(store.engine)]


def test_every_change_is_counted_once(store: Store) -> None:
    assert store.roster.close_run(TaskState("t"), record("a", 10.0))
    assert store.roster.close_run(TaskState("t"), record("b", 20.0, serving=False))
    assert tallies(store) == [("promoted", "loop", 1)]
    assert store.roster.promote("t", "b", "by hand", 30.0)
    assert not store.roster.promote("t", "gone", "by hand", 31.0)
    assert store.roster.roll_back("t", "rolled back")
    assert store.roster.demote("t", "a", "demoted", 40.0)
    assert not store.roster.demote("t", "a", "demoted", 41.0)
    assert store.roster.roll_back("t", "rolled back") == ()
    assert tallies(store) == [
        ("demoted", "audits", 1),
        ("promoted", "hand", 1),
        ("promoted", "loop", 1),
        ("rolled_back", "hand", 1),
    ]
    assert [one.last for one in changes.tallies(store.engine)][:3] == [40.0, 30.0, 10.0]


def test_promotions_of_before_are_not_forgotten(tmp_path: Path, database: SecretStr | None) -> None:
    url = make_url(database.get_secret_value() if database else f"sqlite:///{tmp_path}/protege.db")
    engine = create_engine(url)
    alembic(engine, "0007")
    for ended, outcome in ((1.0, "promoted"), (2.0, "kept"), (3.0, "promoted")):
        values = {"task": "t", "seconds": 0.1, "examples": 200}
        insert(engine, "training_runs", ended=ended, outcome=outcome, **values)
    engine.dispose()
    store = Store(tmp_path, database)
    assert changes.tallies(store.engine) == [ChangeTally("t", "promoted", "loop", 2, 3.0)]
    store.close()
