"""Tables of the commands that look into the store."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.report.shown import printable

_WIDTH = 10_000
"""Columns where the output is not a terminal: enough for a row to be a line, whatever reads it."""


def console() -> Console:
    """Standard output."""
    shown = Console()
    if not shown.is_terminal:
        shown.width = _WIDTH
    return shown


def table(name: str, *titles: str) -> Table:
    """A table whose first column, which other commands are given, is never cut."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column(name, no_wrap=True)
    for title in titles:
        shown.add_column(Text(printable(title)), overflow="fold")
    return shown


def add(shown: Table, *cells: str) -> None:
    """Add a row of text: what callers have put into a name or an answer is shown as it stands."""
    shown.add_row(*(Text(printable(cell)) for cell in cells))
