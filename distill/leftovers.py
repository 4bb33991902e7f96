"""What runs have left that were ended before they were done with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_ABANDONED_S = 86400.0
"""Whoever wrote to a folder last so long ago was ended."""


def abandoned(folders: Iterable[Path], now: float) -> Iterator[Path]:
    """Those of ``folders`` that, by Unix time ``now``, nobody works at any more."""
    for folder in folders:
        # Another trainer may be deleting it too.
        with contextlib.suppress(FileNotFoundError):
            if now - folder.stat().st_mtime > _ABANDONED_S:
                yield folder
