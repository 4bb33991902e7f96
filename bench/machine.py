"""Which core a process runs on, and what processor time and memory it takes. Reads Linux's /proc:
elsewhere processes run on any core, and what they take is not known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PARENT, _USER, _SYSTEM = 1, 11, 12
"""Fields of /proc/PID/stat after the command's name (proc_pid_stat(5))."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the subjects run on, and which the stub and the load generator; None: any."""

    subjects: int | None
    load: int | None


def two_cores() -> Cores:
    """One each where there are two or more."""
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    return Cores(available[0], available[1]) if len(available) > 1 else Cores(None, None)


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Processes started in the block run on ``core``: they inherit it."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_s(pid: int) -> float:
    """Processor time that a process and those below it have taken, in seconds; 0 if not known."""
    ticks = 0
    for process in _family(pid):
        stat = _stat(process)
        ticks += int(stat[_USER]) + int(stat[_SYSTEM]) if stat else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Resident memory of one process in megabytes (1e6 bytes); 0 if not known."""
    try:
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _family(pid: int) -> list[int]:
    """The process and all below it."""
    parents = {}
    for folder in _PROC.glob("[0-9]*"):
        stat = _stat(int(folder.name))
        if stat:
            parents[int(folder.name)] = int(stat[_PARENT])
    family = [pid]
    for member in family:  # Grows while it is gone through.
        family += [child for child, parent in parents.items() if parent == member]
    return family


def _stat(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
