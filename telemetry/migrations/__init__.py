"""The schema of a database, and how an older one becomes today's.

A new revision is a file in ``versions`` and its number in ``HEAD``.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, insert, inspect, select

from telemetry.schema import metadata

HEAD = "0014"
"""The revision that ``telemetry.schema`` is."""

_FIRST = "0001"
"""The schema of databases that do not say their revision."""

_ALONE = {
    "sqlite": ("BEGIN IMMEDIATE",),
    "postgresql": (
        # Another process's migration of a large database takes its time.
        "SET LOCAL lock_timeout = '10min'",
        # The number is arbitrary: no other lock of the database may have it.
        "SELECT pg_advisory_xact_lock(5788263109)",
        # A long statement in a table that is to be changed is worth a wait too, but all others wait
        # behind this one.
        "SET LOCAL lock_timeout = '1min'",
    ),
}
"""Begins a transaction that one process at a time is in."""

# Alembic's own table, so that its commands work too.
_version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


class NewerSchemaError(Exception):
    """The database was written by a newer version of the program."""


def upgrade(engine: Engine) -> None:
    """Bring the schema of a database to ``HEAD``, whichever process comes first.

    Raises NewerSchemaError, or what the database raises.
    """
    with engine.connect() as connection:
        if _revision(connection) == HEAD:
            return
    with engine.begin() as connection:
        for statement in _ALONE[engine.dialect.name]:
            connection.exec_driver_sql(statement)
        revision = _revision(connection)
        if revision is None:
            metadata.create_all(connection)
            _stamp(connection, HEAD)
        elif revision < HEAD:
            _migrate(connection)
        elif revision > HEAD:
            raise NewerSchemaError(
                f"its schema ({revision}) is newer than this version of Protege knows ({HEAD})"
            )


def _revision(connection: Connection) -> str | None:
    """None for an empty database."""
    tables = inspect(connection).get_table_names()
    if _version.name in tables:
        return connection.scalar(select(_version.c.version_num))
    if "exchanges" in tables:
        return _FIRST
    return None


def _stamp(connection: Connection, revision: str) -> None:
    _version.create(connection)
    connection.execute(insert(_version).values(version_num=revision))


def _migrate(connection: Connection) -> None:
    # Needed once in a database's life, and slow to import.
    from alembic import command
    from alembic.config import Config

    if not inspect(connection).has_table(_version.name):
        _stamp(connection, _FIRST)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
