"""An INSERT that can be told what to do where a row is there already."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import sqlite


def upsert(connection: Connection | Engine, table: Table) -> Any:
    """The database's own INSERT, with its ``on_conflict_do_…`` methods."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)
