"""How SQLite is connected to: a file in WAL mode."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event

_BUSY_S = 10.0
"""How long a process waits for another that writes to the same file."""


def connect(file: Path) -> Engine:
    """An engine for the database in ``file``, which is made if it is not there."""
    return _engine(file, _set_pragmas)


def connect_hasty(file: Path) -> Engine:
    """One that never waits: neither for others nor, at a checkpoint, for the disk."""
    return _engine(file, _set_hasty_pragmas)


def empty_log(hasty: Engine) -> None:
    """Leave nothing in the write-ahead log, which keeps what pages held before they were written
    again; nothing is done while somebody else is reading or writing. Waits for the disk."""
    with hasty.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()


def _engine(file: Path, set_pragmas: Callable[[Any, Any], None]) -> Engine:
    engine = create_engine(f"sqlite:///{file}", hide_parameters=True)
    event.listen(engine, "connect", set_pragmas)
    return engine


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={round(1000 * _BUSY_S)}")
    _use_wal(cursor)
    # What is deleted is gone from the file, however SQLite was built.
    cursor.execute("PRAGMA secure_delete=ON")
    # A commit survives whatever is killed. A power cut can take the last moments of the log, which
    # is not worth that every answer waits for the disk: that takes longer than all else.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _set_hasty_pragmas(connection: Any, record: Any) -> None:
    _set_pragmas(connection, record)
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=0")
    cursor.execute("PRAGMA wal_autocheckpoint=0")
    cursor.close()


def _use_wal(cursor: sqlite3.Cursor) -> None:
    # Of several processes that switch a new file at once, SQLite lets one and has no other wait.
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
