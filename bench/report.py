"""How long figures of a month of traffic take, and what keeping their sums costs those who write.

    python -m bench.million FOLDER [--database URL]
    python -m bench.report FOLDER [--database URL]

The sums that are there are made anew. What is written for the measurement is taken out again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Annotated
from unittest import mock

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from sqlalchemy import delete, func, select

from bench.million import DAY_S, DAYS, exchanges
from telemetry.exchange import Exchange
from telemetry.figures import Dimension, sums
from telemetry.rollup import roll_up
from telemetry.schema import daily_sums, hourly_sums, rolled_up
from telemetry.schema import exchanges as table
from telemetry.store import Store

GROUPINGS: Sequence[tuple[Dimension, ...]] = (
    (),
    ("day",),
    ("day", "route"),
    ("task",),
    ("key",),
    ("model",),
    ("hour",),
)
FORMATS = ("table", "csv", "json", "html")
BATCH = 32
"""Exchanges of one transaction, as of a server under load."""


def main(
    folder: Annotated[Path, typer.Argument(help="Data folder that bench.million has filled.")],
    database: Annotated[str | None, typer.Option(help="URL of the PostgreSQL database.")] = None,
    rounds: Annotated[int, typer.Option(help="How often each is measured.")] = 5,
) -> None:
    """Measure sums, the report and ingest."""
    store = Store(folder, SecretStr(database) if database else None)
    now = time.time()
    _forget(store)
    read = [_timed(partial(_sums, store, now, by)) for by in GROUPINGS]
    summing_s = _timed(partial(roll_up, store.engine, now))
    shown = Table(title=f"{_stored(store):,} exchanges, {'PostgreSQL' if database else 'SQLite'}")
    for heading in ("figures of 30 days", "median, s", "slowest, s", "without sums, s"):
        shown.add_column(heading, justify="left" if "days" in heading else "right")
    for by, without in zip(GROUPINGS, read, strict=True):
        took = [_timed(partial(_sums, store, now, by)) for _ in range(rounds)]
        name = f"sums by {', '.join(by)}" if by else "sums of all"
        shown.add_row(name, *(f"{each:.3f}" for each in (median(took), max(took), without)))
    for format_ in FORMATS:
        took = [_timed(partial(_report, folder, database, format_)) for _ in range(rounds)]
        name = f"protege report --format {format_}"
        shown.add_row(name, f"{median(took):.3f}", f"{max(took):.3f}")
    Console(width=None if os.isatty(1) else 100).print(shown)
    typer.echo(f"All sums are made in {summing_s:.1f} s.")
    plain, kept, beside = _ingest(store, rounds)
    typer.echo(
        f"Ingest in transactions of {BATCH}: {plain:,.0f} exchanges/s without sums, {kept:,.0f} "
        f"with them, {beside:,.0f} while all of the month is summed up beside."
    )
    store.close()


def _sums(store: Store, now: float, by: Sequence[Dimension]) -> None:
    sums(store.engine, now - DAYS * DAY_S, now, by)


def _report(folder: Path, database: str | None, format_: str) -> None:
    program = "from router.cli import main; main()"
    command = [sys.executable, "-c", program, "report", "--data", str(folder), "--format", format_]
    environment = {**os.environ, **({"PROTEGE_DATABASE": database} if database else {})}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


def _ingest(store: Store, rounds: int) -> tuple[float, float, float]:
    """Exchanges a second without sums, with them, and while they are made; medians, in turn."""
    rates: list[list[float]] = [[], [], []]
    ways: Sequence[Callable[[], AbstractContextManager[None]]] = (
        _without_sums,
        nullcontext,
        partial(_summing_up, store),
    )
    for place in range(rounds):
        new = list(islice(exchanges(2_000, time.time(), seed=place), 2_000))
        # Not the dates of a month, which would all be late.
        at = time.time()
        for which, around in enumerate(ways):
            rows = [_renewed(row, f"bench_{place}_{which}_{row.id}", at) for row in new]
            with around():
                took = _timed(partial(_write, store, rows))
            rates[which].append(len(rows) / took)
    with store.engine.begin() as connection:
        connection.execute(delete(table).where(table.c.id.startswith("bench_")))
    plain, kept, beside = (median(each) for each in rates)
    return plain, kept, beside


def _renewed(row: Exchange, identifier: str, at: float) -> Exchange:
    return replace(row, id=identifier, created=at)


def _write(store: Store, rows: Sequence[Exchange]) -> None:
    for start in range(0, len(rows), BATCH):
        store.write(rows[start : start + BATCH])


def _none_late(*_looked_at: object) -> list[str]:
    return []


@contextmanager
def _uncorrected(*_changed: object) -> Iterator[None]:
    yield


@contextmanager
def _without_sums() -> Iterator[None]:
    """Writes that do not look whether what they write is in the sums."""
    with (
        mock.patch("telemetry.store.late", _none_late),
        mock.patch("telemetry.store.corrected", _uncorrected),
    ):
        yield


@contextmanager
def _summing_up(store: Store) -> Iterator[None]:
    done = threading.Event()

    def sum_up() -> None:
        while not done.is_set():
            _forget(store)
            while not done.is_set():
                roll_up(store.engine, time.time(), most=1)

    thread = threading.Thread(target=sum_up)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        roll_up(store.engine, time.time())


def _forget(store: Store) -> None:
    with store.engine.begin() as connection:
        for each in (hourly_sums, daily_sums, rolled_up):
            connection.execute(delete(each))


def _stored(store: Store) -> int:
    with store.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    typer.run(main)
