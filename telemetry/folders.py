"""Folders that the processes of one server share, and no other server on the same data."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path


def own_folder(parent: Path) -> Path:
    """A new folder in ``parent``, this process's until it ends, however that comes about.

    Those that processes have left which ended are deleted. Raises OSError.
    """
    parent.mkdir(exist_ok=True)
    all_of_them = os.open(parent, os.O_RDONLY)
    try:
        fcntl.flock(all_of_them, fcntl.LOCK_EX)
        for left in parent.iterdir():
            if not left.is_dir():
                left.unlink()
            elif _is_free(left):
                shutil.rmtree(left)
        folder = Path(tempfile.mkdtemp(dir=parent))
        # Never closed: the system gives the lock back when the process is gone.
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)
    finally:
        os.close(all_of_them)
    return folder


def _is_free(folder: Path) -> bool:
    """Whether nobody has locked a folder."""
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True
