"""Trainings in a process of their own, which takes its memory with it when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PARENT = "PROTEGE_TRAINING_FOR"
"""Environment variable of a training: the id of the process that wants it."""

_LARGE = 1 << 20
"""Bytes of memory that a training gives back at once when it is done with them."""
_SPINS = 3000
"""Looks that a thread takes at what it waits for before it sleeps (libgomp)."""


class TrainingError(Exception):
    """A training came to nothing."""


def run(module: str, job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Have ``module`` do a ``job``, ready for JSON, in ``folder``, which is made, and return what
    the last line of its output says.

    It reads the job from its standard input: what callers wrote stays in the store, where it can be
    forgotten, whatever is killed meanwhile. Raises TrainingError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", module]
    # Threads that wait for each other must not take the processor from those who serve. But to wake
    # one up takes longer than most of what it then does: without any waiting, two threads take half
    # as long again for a step of a text student's.
    environment = {
        **os.environ,
        PARENT: str(os.getpid()),
        "GOMP_SPINCOUNT": str(_SPINS),
        "TOKENIZERS_PARALLELISM": "false",
        # Else glibc keeps room for large tensors of ever other sizes, and memory grows for long.
        "MALLOC_MMAP_THRESHOLD_": str(_LARGE),
    }
    done = subprocess.run(
        command,
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no output"]
        raise TrainingError(f"the training ended with {done.returncode}: {said[-1]}")
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return report
