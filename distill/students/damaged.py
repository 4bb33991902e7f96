"""Files of students that are gone or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class DamagedError(Exception):
    """Files of a student cannot be read."""


@contextmanager
def reading() -> Iterator[None]:
    """Have whatever is raised meanwhile be a DamagedError."""
    try:
        yield
    except Exception as error:
        # Each of the libraries that read them stumbles in ways of its own.
        raise DamagedError(f"{type(error).__name__}: {error}") from error
