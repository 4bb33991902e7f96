"""What commands that look into the store share."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from sqlalchemy.exc import SQLAlchemyError

from config.loading import ConfigError, load
from config.settings import Settings
from telemetry.store import Store, StoreError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="FOLDER", help="Folder of the exchange store and the students."),
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="YAML file of settings.")
]


@contextmanager
def opened(data: Path | None, config: Path | None) -> Generator[tuple[Settings, Store], None, None]:
    """As ``made``, of a store that has to be there: a mistyped folder is not an empty store."""
    settings = _settings(data, config)
    if not Store.exists(settings.data, settings.database):
        fail(f"there is no store in {settings.data}: --data names a server's folder")
    with made(data, config) as both:
        yield both


@contextmanager
def made(data: Path | None, config: Path | None) -> Generator[tuple[Settings, Store], None, None]:
    """The settings and the store that they name. What is wrong with it is told in one line."""
    settings = _settings(data, config)
    try:
        store = Store(settings.data, settings.database)
        try:
            yield settings, store
        finally:
            store.close()
    except OSError as error:
        if error.filename is None:
            # It is what is printed that cannot be written.
            raise
        fail(f"cannot write to {error.filename}: {error.strerror}")
    except StoreError as error:
        fail(str(error))
    except SQLAlchemyError as error:
        fail(f"the store failed: {' '.join(str(error.__cause__ or error).split())}")


@contextmanager
def writing(path: Path) -> Generator[None, None, None]:
    """Where ``path`` cannot be written, or no more of it, that is told in one line."""
    try:
        yield
    except OSError as error:
        fail(f"cannot write to {path}: {error.strerror or error}")


def _settings(data: Path | None, config: Path | None) -> Settings:
    try:
        return load(config, {} if data is None else {"data": data})
    except ConfigError as error:
        fail("; ".join(error.lines))


def ago(text: str, option: str, now: float) -> float:
    """The Unix time that was a length of time such as 12h before ``now``; 0 at the earliest."""
    return max(now - seconds(text, option), 0.0)


def seconds(text: str, option: str) -> int:
    """A length of time such as 12h, in seconds."""
    given = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if given is None:
        fail(f"{option}: expected a number and s, m, h or d, such as 30d (got {text!r})")
    return int(given[1]) * _SECONDS[given[2]]


def fail(message: str, code: int = 1) -> NoReturn:
    """End the program with one line on stderr and the exit ``code``."""
    typer.echo(f"protege: {message}", err=True)
    raise typer.Exit(code)
