"""A training that takes its time to load, until whoever wanted it is gone."""

import json
import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    folder, wanted_by = Path(json.load(sys.stdin)["folder"]), os.getppid()
    (folder / "loading").touch()
    while os.getppid() == wanted_by:
        time.sleep(0.01)
    # As late as torch lets it.
    from distill.students.pace import paced

    end = "nothing"
    try:
        for _ in paced(range(3), 3, 60.0, 0.1):
            end = "a step"
    except SystemExit as gone:
        end = str(gone)
    (folder / "end.tmp").write_text(end, encoding="utf-8")
    (folder / "end.tmp").rename(folder / "end")
