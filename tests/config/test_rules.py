"""Prometheus' rules, tried by Prometheus' own tool on made-up series."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.prometheus import program

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "config/prometheus"
CASES = sorted(Path(__file__).with_name("rules").glob("*.yml"))


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def trials() -> list[dict[str, Any]]:
    tests = [test for case in CASES for test in yaml.safe_load(case.read_text())["tests"]]
    return [trial for test in tests for trial in test.get("alert_rule_test", [])]


def test_the_configuration_is_valid() -> None:
    _succeeds("check", "config", str(PROMETHEUS / "prometheus.yml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_rules(case: Path) -> None:
    _succeeds("test", "rules", str(case))


def test_every_alert_is_tried_silent_and_firing() -> None:
    firing = {trial["alertname"] for trial in trials() if trial.get("exp_alerts")}
    silent = {trial["alertname"] for trial in trials() if not trial.get("exp_alerts")}
    assert firing == silent == set(alerts())


def test_every_alert_is_explained() -> None:
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs/monitoring.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(alerts())


def test_every_alert_says_how_bad_and_what_it_is() -> None:
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert set(rule["annotations"]) == {"summary", "description"}, name


def _succeeds(*arguments: str) -> None:
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
