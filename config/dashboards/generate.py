"""From the dashboards in Python to the JSON that Grafana reads."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from config.dashboards import cost, keys, quality, students, traffic

FOLDER = Path(__file__).with_name("generated")
"""Where the JSON is kept."""


def generate() -> dict[str, str]:
    """The JSON of every dashboard, by the name of its file."""
    dashboards = [module.dashboard() for module in (cost, quality, traffic, students, keys)]
    return {
        f"{dashboard.uid}.json": json.dumps(dashboard, cls=JSONEncoder, indent=1, sort_keys=True)
        + "\n"
        for dashboard in dashboards
    }
