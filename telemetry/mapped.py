"""Files that processes map into memory."""

from __future__ import annotations

import os


def lengthen(file: int, size: int) -> None:
    """Write an open file up to so many bytes. Raises OSError where the disk has no room for them.

    Written, not only made longer: a hole that a full disk cannot fill would end the process.
    """
    end = os.fstat(file).st_size
    while end < size:
        # As much as there is room for; without any, it fails.
        end += os.pwrite(file, bytes(size - end), end)
