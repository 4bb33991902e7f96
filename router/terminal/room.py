"""Which columns of a table a terminal has room for: a figure that is cut is none."""

from __future__ import annotations

from collections.abc import Sequence

LEAST_NAME = 16
"""Columns of the terminal for the name that each row begins with."""


def fitting(
    columns: Sequence[Sequence[str]],
    width: int,
    dispensable: Sequence[str],
    name: int = LEAST_NAME,
) -> list[int]:
    """The places of those ``columns``, each with its heading first, that have room in ``width``
    columns of the terminal beside the names, which take ``name`` of them. Where not all have, the
    headings that are ``dispensable`` go first, in their order; the others stay.

    >>> fitting([["requests", "12"], ["saved", "3%"]], 32, ["requests"])
    [1]
    """
    shown = list(range(len(columns)))
    for heading in dispensable:
        # A line and two spaces between a column and the next.
        taken = sum(_wide(columns[at]) + 3 for at in shown)
        if name + 4 + taken <= width:
            break
        shown = [at for at in shown if columns[at][0] != heading]
    return shown


def _wide(column: Sequence[str]) -> int:
    return max(len(line) for cell in column for line in cell.splitlines())
