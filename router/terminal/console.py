"""Standard output, whether it is a terminal or not."""

from __future__ import annotations

from rich.console import Console

ONE_LINE = 10_000
"""Columns in which each row of a table is a line, whatever reads it."""


def console(width: int = ONE_LINE) -> Console:
    """Standard output, of ``width`` columns where that is not a terminal."""
    shown = Console()
    if not shown.is_terminal:
        shown.width = width
    return shown
