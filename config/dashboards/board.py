"""Puts panels together: rows, variables, links between the dashboards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    Panel,
    RowPanel,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from config.dashboards.events import Event, marks
from config.dashboards.panels import PROMETHEUS

_TAG = "protege"


@dataclass(frozen=True)
class Section:
    """A titled row of panels. If it ``repeats``, there is one such row for each chosen value of
    that variable, closed until it is asked for."""

    title: str
    panels: Sequence[Builder[Panel]]
    repeats: str | None = None


@dataclass(frozen=True)
class Variable:
    """A choice among the values that a label has in ``metric``."""

    label: str
    metric: str


def board(
    uid: str,
    title: str,
    words: str,
    variables: Sequence[Variable],
    sections: Sequence[Section],
    events: Sequence[Event] = (),
) -> Dashboard:
    """A whole dashboard, over the last day unless another time is chosen; ``events`` are marked on
    its charts."""
    builder = (
        build.Dashboard(title)
        .uid(uid)
        .description(words)
        .tags([_TAG])
        .timezone("browser")
        .time("now-24h", "now")
        .refresh("1m")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(
            build.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .link(
            build.DashboardLink("Protege")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
    )
    for variable in variables:
        builder = builder.with_variable(_choice(variable))
    for section in sections:
        builder = _add(builder, section)
    dashboard = builder.build()
    dashboard.annotations.list_val = [marks(event) for event in events]
    _number(dashboard)
    _tidy(dashboard)
    return dashboard


def _choice(variable: Variable) -> Builder[VariableModel]:
    return (
        build.QueryVariable(variable.label)
        .label(variable.label.capitalize())
        .datasource(PROMETHEUS)
        .query(f"label_values({variable.metric}, {variable.label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def _add(builder: build.Dashboard, section: Section) -> build.Dashboard:
    row = build.Row(section.title)
    if section.repeats is None:
        builder = builder.with_row(row)
        for panel in section.panels:
            builder = builder.with_panel(panel)
        return builder
    row = row.collapsed(True).repeat(section.repeats)
    for panel in section.panels:
        row = row.with_panel(panel)
    return builder.with_row(row)


def _number(dashboard: Dashboard) -> None:
    """Give panels the ids that links to them need."""
    last = 0
    for panel in dashboard.panels or []:
        last += 1
        panel.id_val = last
        if isinstance(panel, RowPanel):
            for inner in panel.panels:
                last += 1
                inner.id_val = last


def _tidy(dashboard: Dashboard) -> None:
    """Take out what the SDK sets for every variable and Grafana knows of intervals alone."""
    assert dashboard.templating is not None
    for variable in dashboard.templating.list_val or []:
        variable.auto = variable.auto_min = variable.auto_count = None
