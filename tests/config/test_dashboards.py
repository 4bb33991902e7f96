"""The Grafana dashboards: current, complete, and as Grafana's own types want them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from config.dashboards.generate import FOLDER, generate

ROOT = Path(__file__).parents[2]
GRAFANA = Path(__file__).with_name("grafana")
TYPES = {
    "bargauge": "BarGauge",
    "heatmap": "Heatmap",
    "stat": "Stat",
    "state-timeline": "StateTimeline",
    "table": "Table",
    "timeseries": "TimeSeries",
}
OF_PROMETHEUS = ("expr", "titleFormat", "textFormat", "tagKeys", "useValueForTime")
"""Settings of events that its Prometheus data source has: Grafana publishes no type of them."""
BUILT_IN = {"datasource", "__range", "__range_s", "__rate_interval"}

DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")
}


def everything(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows and panels, those in closed rows too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in everything(dashboard) if panel["type"] != "row"]


every_dashboard = pytest.mark.parametrize("name", sorted(DASHBOARDS))


def test_what_is_committed_is_current() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert committed == generate(), "run make dashboards"


@every_dashboard
def test_every_panel_says_what_it_shows(name: str) -> None:
    titles = [panel["title"] for panel in panels(DASHBOARDS[name])]
    assert all(titles)
    assert len(set(titles)) == len(titles)
    for panel in panels(DASHBOARDS[name]):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        looks = [defaults, *_columns(panel)]
        for steps in (look["thresholds"]["steps"] for look in looks):
            assert steps[0]["value"] is None
            assert all(low["value"] < high["value"] for low, high in pairwise(steps[1:]))


def _columns(panel: dict[str, Any]) -> list[dict[str, Any]]:
    """Units and thresholds of the columns of a table."""
    return [
        {look["id"]: look["value"] for look in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
    ]


@every_dashboard
def test_a_table_has_a_unit_for_every_column(name: str) -> None:
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] == "table":
            columns = panel["transformations"][-1]["options"]["renameByName"]
            assert len(columns) == len(panel["targets"])
            styled = {o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"]}
            assert styled == set(columns.values())


@every_dashboard
def test_panels_are_numbered_and_do_not_overlap(name: str) -> None:
    numbers = [panel["id"] for panel in everything(DASHBOARDS[name])]
    assert len(set(numbers)) == len(numbers)
    places = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]
    for place in places:
        assert place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        assert _apart(one, other, "x", "w") or _apart(one, other, "y", "h")


def _apart(one: dict[str, int], other: dict[str, int], at: str, size: str) -> bool:
    return one[at] + one[size] <= other[at] or other[at] + other[size] <= one[at]


@every_dashboard
def test_variables_are_known_and_used(name: str) -> None:
    dashboard = DASHBOARDS[name]
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard["panels"])))
    assert used - BUILT_IN == defined - {"datasource"}
    assert "datasource" in defined


def test_dashboards_can_be_told_apart() -> None:
    assert len(DASHBOARDS) == 5
    for of in ("uid", "title", "description"):
        assert len({dashboard[of] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)
    for name, dashboard in DASHBOARDS.items():
        assert dashboard["uid"] == name


def test_nothing_but_the_dashboards_needs_the_sdk() -> None:
    own = ROOT / "config/dashboards"
    for package in ("config", "telemetry", "policies", "distill", "router"):
        for file in (ROOT / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            named = "grafana_foundation_sdk" in text or "config.dashboards" in text
            assert own in file.parents or not named, file


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    """JSON schemas of Grafana's published types (``@grafana/schema``)."""
    if shutil.which("node") is None or not (GRAFANA / "node_modules").is_dir():
        assert not os.environ.get("CI"), "node, or npm ci --prefix tests/config/grafana, is missing"
        pytest.skip("needs node, and npm ci --prefix tests/config/grafana")
    made = subprocess.run(["node", "schema.mjs"], cwd=GRAFANA, capture_output=True, check=True)
    return json.loads(made.stdout)


@every_dashboard
def test_events_are_told_apart_and_point_to_their_time(name: str) -> None:
    events = DASHBOARDS[name]["annotations"]["list"]
    assert len({event["name"] for event in events}) == len(events)
    assert len({event["iconColor"] for event in events}) == len(events)
    for event in events:
        (label,) = re.findall(r"{{(\w+)}}", event["titleFormat"])
        # A time in milliseconds that has the label which the title shows.
        assert event["useValueForTime"]
        assert re.match(rf"1000 \* max by \({label}\) \(\w+_timestamp_seconds", event["expr"])


@every_dashboard
def test_grafanas_types(name: str, schemas: dict[str, Any]) -> None:
    assert _mistakes(DASHBOARDS[name], schemas) == []


def test_mistakes_are_found(schemas: dict[str, Any]) -> None:
    for path, value in [
        (("titel",), "Costs"),
        (("panels", 1, "gridPos", "w"), "wide"),
        (("panels", 1, "options", "textMode"), "loud"),
        (("panels", 1, "fieldConfig", "defaults", "thresholds", "mode"), "relative"),
        (("templating", "list", 0, "type"), "list"),
    ]:
        dashboard = json.loads(json.dumps(DASHBOARDS["protege-cost"]))
        *above, last = path
        place = dashboard
        for step in above:
            place = place[step]
        place[last] = value
        assert _mistakes(dashboard, schemas), path


def _mistakes(dashboard: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    general = json.loads(json.dumps(dashboard))
    for event in general["annotations"]["list"]:
        for setting in OF_PROMETHEUS:
            event.pop(setting, None)
    found = _breaches(general, schemas["Dashboard"])
    for panel in panels(dashboard):
        settings = {
            "options": panel.get("options", {}),
            "custom": panel["fieldConfig"]["defaults"].get("custom", {}),
        }
        breaches = _breaches(settings, schemas[TYPES[panel["type"]]])
        found += [f"{panel['title']}: {breach}" for breach in breaches]
    return found


def _breaches(value: Any, schema: dict[str, Any]) -> list[str]:
    errors = jsonschema_rs.validator_for(schema).iter_errors(value)
    return [f"{error.instance_path}: {error.message}" for error in errors]
