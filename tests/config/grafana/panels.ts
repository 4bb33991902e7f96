// The types whose JSON schemas schema.mjs writes: dashboards, and what each kind of panel may set.
import type * as bargauge from "@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen";
import type * as heatmap from "@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/types.gen";
import type * as stat from "@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen";
import type * as statetimeline from "@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen";
import type * as table from "@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen";
import type * as timeseries from "@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";

export type { Dashboard } from "@grafana/schema/dist/types/raw/dashboard/x/types.gen";

// Grafana fills in what is left out.
interface Panel<Options, Custom> {
  options: Partial<Options>;
  custom: Partial<Custom>;
}

type Nothing = Record<string, never>;

export type BarGauge = Panel<bargauge.Options, Nothing>;
export type Heatmap = Panel<heatmap.Options, heatmap.FieldConfig>;
export type Stat = Panel<stat.Options, Nothing>;
export type StateTimeline = Panel<statetimeline.Options, statetimeline.FieldConfig>;
export type Table = Panel<table.Options, table.FieldConfig>;
export type TimeSeries = Panel<timeseries.Options, timeseries.FieldConfig>;
