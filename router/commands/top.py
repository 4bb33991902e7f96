"""``protege top``: what a server does at the moment."""

from __future__ import annotations

import time
from collections import deque
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from router.commands.opened import fail
from router.terminal.console import console
from router.top.frame import frame
from router.top.pace import pace
from router.top.scrape import Scrape, UnreachableError, scrape

_WINDOW_S = 60.0
"""Figures are those of so many seconds, once it has run for that long."""

_WIDTH = 130
"""Columns for one frame where the output is not a terminal."""

_HEAD_LINES = 14
"""Of a frame, besides its tasks."""


def top(
    url: Annotated[
        str, typer.Option(metavar="URL", help="Where the server is.")
    ] = "http://127.0.0.1:8080",
    every: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between two looks.")] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Print one frame, after two looks, and end.")
    ] = False,
) -> None:
    """Requests, latency, money and students of a running server, live in the terminal."""
    root = url.rstrip("/").removesuffix("/v1")
    try:
        looks = deque([scrape(root)])
        if once:
            time.sleep(every)
            looks.append(scrape(root))
            console(_WIDTH).print(frame(root, pace(looks[0], looks[-1]), 1000))
        else:
            _watch(root, looks, every)
    except UnreachableError as error:
        fail(str(error))
    except KeyboardInterrupt:
        return


def _watch(root: str, looks: deque[Scrape], every: float) -> None:
    """Show frame after frame, until interrupted."""
    terminal = console()
    if not terminal.is_terminal:
        fail("not a terminal: use --once", 2)
    with Live(console=terminal, screen=True, auto_refresh=False) as live:
        live.update(Text(f"Protege {root}: the first figures come soon."), refresh=True)
        while True:
            time.sleep(every)
            try:
                looks.append(scrape(root))
            except UnreachableError as error:
                live.update(Text(f"{error}\nIt is tried again."), refresh=True)
                continue
            while looks[-1].at - looks[0].at > _WINDOW_S:
                looks.popleft()
            most = max(1, terminal.height - _HEAD_LINES)
            live.update(frame(root, pace(looks[0], looks[-1]), most), refresh=True)
