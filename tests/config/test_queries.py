"""What panels share, tried by Prometheus' own tool on made-up series."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from config.dashboards.queries import gained
from tests.prometheus import program

NEW = "_x110 3 5 7x8"
"""Ten minutes old, and not begun anew."""
RESTARTED = "_x60 0+2x29 0+1x30"
"""An hour old, and begun anew half an hour ago, when it had come to 58."""
OLD = "0+1x120"
UNSEEN = "0+1x100 _x20 121+1x79"
"""Nobody looked for twenty minutes, in which the chosen time begins."""


@pytest.mark.parametrize(
    ("values", "at", "gain"),
    [(NEW, "2h", 7), (RESTARTED, "2h", 88), (OLD, "2h", 90), (UNSEEN, "3h20m", 80)],
    ids=["new", "restarted", "old", "unseen"],
)
def test_what_a_counter_has_gained(values: str, at: str, gain: float, tmp_path: Path) -> None:
    time_range = "1h30m"
    query = gained("seen_total").replace("$__range", time_range)
    trial = {
        "interval": "1m",
        "input_series": [{"series": "seen_total", "values": values}],
        "promql_expr_test": [
            {
                "expr": f"round({query})",
                "eval_time": at,
                "exp_samples": [{"labels": "{}", "value": gain}],
            }
        ],
    }
    file = tmp_path / "trial.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [trial]}))
    command = [program("promtool"), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
