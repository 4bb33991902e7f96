"""Files that were uploaded, and their table. All functions block.

They are in the store, which replicas share, and not in a folder, which each has for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex

from sqlalchemy import Engine, delete, insert, select, tuple_

from telemetry.schema import files


@dataclass(frozen=True, slots=True)
class File:
    """What is known of a file without reading it."""

    id: str
    """``file-`` and 24 hexadecimal digits."""
    created: float
    """Unix time."""
    name: str
    """The uploader's."""
    size: int
    """Bytes."""


_KNOWN = (files.c.id, files.c.created, files.c.name, files.c.size)


def add(engine: Engine, name: str, content: bytes, now: float) -> File:
    """Keep a file that was uploaded at Unix time ``now``."""
    identifier = f"file-{token_hex(12)}"
    values = {"id": identifier, "created": now, "name": name, "size": len(content)}
    with engine.begin() as connection:
        connection.execute(insert(files).values(**values, content=content))
    return File(identifier, now, name, len(content))


def find(engine: Engine, identifier: str) -> File | None:
    with engine.connect() as connection:
        row = connection.execute(select(*_KNOWN).where(files.c.id == identifier)).first()
    return None if row is None else File(**row._mapping)


def page(engine: Engine, limit: int, after: File | None, *, newest_first: bool) -> list[File]:
    """The first ``limit`` files that come after another in the order of (created, id)."""
    place = (files.c.created, files.c.id)
    query = select(*_KNOWN).order_by(*(each.desc() if newest_first else each for each in place))
    if after is not None:
        here, there = tuple_(*place), tuple_(after.created, after.id)
        query = query.where(here < there if newest_first else here > there)
    with engine.connect() as connection:
        return [File(**row._mapping) for row in connection.execute(query.limit(limit))]


def content(engine: Engine, identifier: str) -> bytes | None:
    """What is in a file; None where there is no such file."""
    with engine.connect() as connection:
        return connection.scalar(select(files.c.content).where(files.c.id == identifier))


def remove(engine: Engine, identifier: str) -> bool:
    """Delete a file; False where there is none."""
    with engine.begin() as connection:
        return connection.execute(delete(files).where(files.c.id == identifier)).rowcount > 0
