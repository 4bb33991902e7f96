"""How long the console's pages take over a month of traffic, from a server of its own.

python -m bench.million FOLDER [--database URL]
python -m bench.console FOLDER [--database URL]
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import httpx
import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select

from bench.machine import resident_mb
from router.demo.processes import free_port, running
from telemetry.rollup import roll_up
from telemetry.schema import exchanges
from telemetry.store import Store

PAGES = {
    "overview, 30 days": "",
    "overview, 90 days": "?period=90d",
    "overview, 24 hours": "?period=24h",
    "tasks": "/tasks",
    "the largest task": "/task?name=task-001",
    "students": "/students",
    "exchanges": "/exchanges",
    "exchanges, disagreements": "/exchanges?outcome=disagreed",
    "exchanges, failed": "/exchanges?outcome=failed",
    "exchanges, a word that nobody sent": "/exchanges?text=nowhere-to-be-found",
    "keys": "/keys",
}


def main(
    folder: Annotated[Path, typer.Argument(help="Data folder that bench.million has filled.")],
    database: Annotated[str | None, typer.Option(help="URL of the PostgreSQL database.")] = None,
    rounds: Annotated[int, typer.Option(help="How often each page is loaded.")] = 10,
) -> None:
    """Load each page, first in a new server and then again and again."""
    stored, summing_s = _prepare(folder, database)
    table = Table(title=f"{stored:,} stored exchanges, {'PostgreSQL' if database else 'SQLite'}")
    for heading in ("page", "first, s", "median, s", "slowest, s", "kB"):
        table.add_column(heading, justify="left" if heading == "page" else "right")
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "router.cli", "serve", "--data", str(folder)]
    command += ["--port", url.rpartition(":")[2]]
    environment = {"PROTEGE_LOOP__ENABLED": "false"}
    if database:
        environment["PROTEGE_DATABASE"] = database
    log = folder / "bench-console.log"
    with (
        running(command, log, f"{url}/healthz", environment) as server,
        httpx.Client(base_url=f"{url}/console", timeout=120, trust_env=False) as browser,
    ):
        before = resident_mb(server)
        for name, path in PAGES.items():
            took = [_load(browser, path) for _ in range(rounds)]
            seconds = [each for each, _ in took]
            cells = (seconds[0], median(seconds), max(seconds))
            table.add_row(name, *(f"{each:.3f}" for each in cells), f"{took[0][1] / 1000:.0f}")
        after = resident_mb(server)
    Console(width=None if os.isatty(1) else 100).print(table)
    typer.echo(f"All sums were made before, in {summing_s:.1f} s.")
    typer.echo(f"Resident: {before:.0f} MB before the first page, {after:.0f} MB after all.")


def _prepare(folder: Path, database: str | None) -> tuple[int, float]:
    """How many exchanges there are, and the seconds that summing them up took: a server does that
    in the background."""
    store = Store(folder, SecretStr(database) if database else None)
    started = time.perf_counter()
    roll_up(store.engine, time.time())
    took = time.perf_counter() - started
    with store.engine.connect() as connection:
        stored = connection.scalar(select(func.count()).select_from(exchanges)) or 0
    store.close()
    return stored, took


def _load(browser: httpx.Client, path: str) -> tuple[float, int]:
    """Seconds until the page was there, and its bytes."""
    started = time.perf_counter()
    answer = browser.get(path)
    took = time.perf_counter() - started
    answer.raise_for_status()
    return took, len(answer.content)


if __name__ == "__main__":
    typer.run(main)
