"""The few kinds of panel that the dashboards are made of.

No panel can be made without a title, a description, a unit and thresholds. Units are Grafana's
identifiers (``currencyUSD``, ``percentunit``: a share of 1, ``s``, ``reqps``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import heatmap as heatmap_kinds
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsConfig,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True)
class Levels(Builder[ThresholdsConfig]):
    """Thresholds: the colour below the first value, then the colour from each value on."""

    base: str
    steps: tuple[tuple[float, str], ...] = ()

    @property
    def shown(self) -> bool:
        """Whether a chart over time should draw them."""
        return bool(self.steps)

    def build(self) -> ThresholdsConfig:
        first = Threshold(value=None, color=self.base)
        others = [Threshold(value=value, color=color) for value, color in self.steps]
        return ThresholdsConfig(mode=ThresholdsMode.ABSOLUTE, steps=[first, *others])


NEUTRAL = Levels("blue")
"""For what is neither good nor bad in itself."""


def at_most(warn: float, bad: float) -> Levels:
    """Green below ``warn``, red from ``bad``."""
    return Levels("green", ((warn, "yellow"), (bad, "red")))


def at_least(good: float, warn: float) -> Levels:
    """Green from ``good``, red below ``warn``."""
    return Levels("red", ((warn, "yellow"), (good, "green")))


@dataclass(frozen=True)
class Query:
    """PromQL, and how its series are called. Of histograms, Prometheus may have ``exemplars``:
    single exchanges, which lines and spreads then show as points."""

    expression: str
    legend: str = "__auto"
    exemplars: bool = False


@dataclass(frozen=True)
class Column:
    """A column of a table: one query, with one value a row."""

    title: str
    expression: str
    unit: str
    levels: Levels = NEUTRAL


def number(
    title: str,
    words: str,
    expression: str,
    unit: str,
    levels: Levels = NEUTRAL,
    *,
    decimals: int | None = None,
) -> stat.Panel:
    """One figure."""
    panel = _figures(title, words, [Query(expression)], unit, levels)
    return panel if decimals is None else panel.decimals(decimals)


def between(title: str, words: str, low: str, high: str, unit: str, levels: Levels) -> stat.Panel:
    """Two figures, between which a third one lies."""
    queries = [Query(low, "at least"), Query(high, "at most")]
    return _figures(title, words, queries, unit, levels).text_mode(
        kinds.BigValueTextMode.VALUE_AND_NAME
    )


def _figures(
    title: str, words: str, queries: Sequence[Query], unit: str, levels: Levels
) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .description(words)
        .datasource(PROMETHEUS)
        .targets([_query(at, query).instant() for at, query in enumerate(queries)])
        .unit(unit)
        .thresholds(levels)
        .color_scheme(_by_thresholds())
        .graph_mode(kinds.BigValueGraphMode.NONE)
        .color_mode(kinds.BigValueColorMode.VALUE if levels.shown else kinds.BigValueColorMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .span(4)
        .height(4)
    )


def lines(
    title: str,
    words: str,
    queries: Sequence[Query],
    unit: str,
    levels: Levels = NEUTRAL,
    *,
    stacked: bool = False,
    span: int = 12,
) -> timeseries.Panel:
    """Values over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(words)
        .datasource(PROMETHEUS)
        .targets(
            [
                _query(at, query).range().exemplar(query.exemplars)
                for at, query in enumerate(queries)
            ]
        )
        .unit(unit)
        .thresholds(levels)
        .thresholds_style(
            common.GraphThresholdsStyleConfig().mode(
                kinds.GraphThresholdsStyleMode.DASHED
                if levels.shown
                else kinds.GraphThresholdsStyleMode.OFF
            )
        )
        .color_scheme(build.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .line_width(1)
        .fill_opacity(30 if stacked else 5)
        .show_points(kinds.VisibilityMode.AUTO)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(kinds.TooltipDisplayMode.MULTI)
            .sort(kinds.SortOrder.DESCENDING)
        )
        .span(span)
        .height(8)
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    return panel


def bars(
    title: str,
    words: str,
    query: Query,
    unit: str,
    levels: Levels = NEUTRAL,
    *,
    most: float | None = None,
) -> bargauge.Panel:
    """Today's values side by side; ``most`` is where a bar is full."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(words)
        .datasource(PROMETHEUS)
        .with_target(_query(0, query).instant())
        .unit(unit)
        .thresholds(levels)
        .color_scheme(_by_thresholds())
        .min(0)
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .span(12)
        .height(8)
    )
    return panel if most is None else panel.max(most)


def states(
    title: str, words: str, query: Query, names: dict[int, tuple[str, str]]
) -> statetimeline.Panel:
    """Which state things were in over time; ``names`` has the name and colour of each value."""
    levels = Levels(names[0][1], tuple((float(v), c) for v, (_, c) in names.items() if v))
    return (
        statetimeline.Panel()
        .title(title)
        .description(words)
        .datasource(PROMETHEUS)
        .with_target(_query(0, query).range())
        .unit("short")
        .thresholds(levels)
        .color_scheme(_by_thresholds())
        .mappings(
            [
                ValueMap(
                    options={
                        str(value): ValueMappingResult(text=name, color=color)
                        for value, (name, color) in names.items()
                    }
                )
            ]
        )
        .legend(
            common.VizLegendOptions()
            .show_legend(False)
            .display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM)
        )
        .show_value(kinds.VisibilityMode.NEVER)
        .span(12)
        .height(8)
    )


def spread(title: str, words: str, expression: str, unit: str) -> heatmap.Panel:
    """How a histogram's observations are spread, over time."""
    return (
        heatmap.Panel()
        .title(title)
        .description(words)
        .datasource(PROMETHEUS)
        .with_target(_query(0, Query(expression, "{{le}}")).range().format(PromQueryFormat.HEATMAP))
        .unit(unit)
        .thresholds(NEUTRAL)
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_kinds.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .scale(heatmap_kinds.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .cell_gap(1)
        .span(12)
        .height(8)
    )


def rows(
    title: str,
    words: str,
    columns: Sequence[Column],
    *,
    by: str = "task",
    beside: Sequence[str] = (),
    height: int = 9,
) -> table.Panel:
    """A table with a row for each value of the label ``by``. The labels ``beside`` it are columns
    too."""
    frame = [f"Value #{_letter(at)}" for at in range(len(columns))]
    names = {value: column.title for value, column in zip(frame, columns, strict=True)}
    order = {name: at for at, name in enumerate((by, *beside, *frame))}
    hidden = {f"Time {at}": True for at in range(1, len(columns) + 1)} | {"Time": True}
    panel = (
        table.Panel()
        .title(title)
        .description(words)
        .datasource(PROMETHEUS)
        .targets(
            [
                _query(at, Query(column.expression)).instant().format(PromQueryFormat.TABLE)
                for at, column in enumerate(columns)
            ]
        )
        .unit(columns[0].unit)
        .thresholds(NEUTRAL)
        .color_scheme(_by_thresholds())
        .no_value("–")
        .filterable(True)
        .span(24)
        .height(height)
        .transformations(
            [
                DataTransformerConfig(
                    id_val="joinByField", options={"byField": by, "mode": "outer"}
                ),
                DataTransformerConfig(
                    id_val="organize",
                    options={"excludeByName": hidden, "indexByName": order, "renameByName": names},
                ),
            ]
        )
    )
    for column in columns:
        panel = panel.override_by_name(column.title, _looks(column))
    return panel


def _looks(column: Column) -> list[DynamicConfigValue]:
    looks = [
        DynamicConfigValue(id_val="unit", value=column.unit),
        DynamicConfigValue(id_val="thresholds", value=column.levels.build()),
    ]
    if column.levels.shown:
        looks.append(DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
    return looks


def _query(at: int, query: Query) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .datasource(PROMETHEUS)
        .expr(query.expression)
        .legend_format(query.legend)
        .ref_id(_letter(at))
    )


def _letter(at: int) -> str:
    return chr(ord("A") + at)


def _by_thresholds() -> build.FieldColor:
    return build.FieldColor().mode(FieldColorModeId.THRESHOLDS)
