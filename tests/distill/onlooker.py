"""A training that says what it was handed over, and what files it finds."""

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    job = json.load(sys.stdin)
    found = [each.name for each in Path(job["folder"]).iterdir()]
    print(json.dumps({"text": job["text"], "found": found}))
