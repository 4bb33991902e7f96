"""How far a training is, and whether anyone still wants it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from distill.students.apart import PARENT

_PARENT = int(os.environ.get(PARENT, os.getppid()))
"""The process that wants what is trained here. It may be gone before anything was loaded."""

Batch = TypeVar("Batch")


def paced(
    batches: Iterable[Batch], steps: int, cpu_s: float, warm: float
) -> Iterator[tuple[float, Batch]]:
    """The ``batches`` of a training of so many ``steps``, each with the share of the highest
    learning rate that it is learnt at.

    That rises for the share ``warm`` of the training, then falls to 0 by the last step or after
    ``cpu_s`` processor seconds, whichever is nearer; there the batches end. Raises SystemExit where
    the process that wants the training is gone, ValueError where there is no time for one step.
    """
    used = time.process_time()
    for done, batch in enumerate(batches):
        if os.getppid() != _PARENT:
            raise SystemExit("whoever wanted the training is gone")
        progress, clock = done / steps, (time.process_time() - used) / cpu_s
        # A clock that is not ahead must change nothing, or no two trainings were the same.
        progress = clock if clock > progress + 1 / steps else progress
        if progress >= 1:
            if not done:
                raise ValueError(f"{cpu_s:.3g} processor seconds are not enough for one step")
            return
        yield min((progress + 1 / steps) / warm, 1 - progress), batch
