"""Tables of the commands that look into the store."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from router.terminal.console import console
from router.terminal.room import fitting
from router.terminal.words import printable

_LEAST_PROSE = 24
"""Columns of a terminal below which sentences are hard to read."""


def table(name: str, *titles: str) -> Table:
    """A table whose first column, which other commands are given, is never cut."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column(name, no_wrap=True)
    for title in titles:
        shown.add_column(Text(printable(title)), overflow="fold")
    return shown


def listed(
    titles: Sequence[str], rows: Sequence[Sequence[str]], dispensable: Sequence[str]
) -> Table:
    """A table of ``rows`` with as many columns as the terminal has room for. The first is never cut
    and the last, which is prose, folds; of those between the ``dispensable`` are left out first, in
    their order, and named below.
    """
    between = [list(column) for column in zip(titles, *rows, strict=True)][1:-1]
    names = max((len(row[0]) for row in rows), default=0)
    places = fitting(between, console().width, dispensable, names + _LEAST_PROSE)
    shown = table(titles[0], *(between[at][0] for at in places), titles[-1])
    for row in rows:
        add(shown, row[0], *(row[1 + at] for at in places), row[-1])
    if left_out := [title for title in titles[1:-1] if titles.index(title) - 1 not in places]:
        shown.caption = f"No room for: {', '.join(left_out)}."
    return shown


def add(shown: Table, *cells: str) -> None:
    """Add a row of text: what callers have put into a name or an answer is shown as it stands."""
    shown.add_row(*(Text(printable(cell)) for cell in cells))
