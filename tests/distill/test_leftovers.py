"""What is left of runs that were ended."""

import os

from distill.leftovers import abandoned

DAY_S = 86400


def test_folders_that_nobody_writes_to_for_a_day_are_abandoned(tmp_path):
    old, new, gone = (tmp_path / name for name in ("old", "new", "gone"))
    for folder, written in ((old, 0.0), (new, 10.0)):
        folder.mkdir()
        os.utime(folder, (written, written))
    assert list(abandoned([gone, old, new], DAY_S + 5.0)) == [old]
