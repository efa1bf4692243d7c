/**
 * Dashboards as Grafana's JSON, schema v1 (Grafana 10 to 13 import it; 13 turns it into v2 by itself). The only file that knows
 * the Foundation SDK, and the place where its defaults are put right:
 *
 *  - every panel and row gets its id, every panel its place (the SDK leaves out the first and packs the second by its own rule);
 *  - legends and tooltips show all series;
 *  - links and annotations stay visible instead of behind a menu;
 *  - what the SDK returns is an internal object with functions in it: one trip through JSON makes it data.
 *
 * The dashboard itself is filled in as data: the SDK's builder for it is deprecated in favour of schema v2, which file provisioning and
 * the HTTP API of Grafana 10 and 11 refuse.
 */

import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import {
  type DataSourceRef,
  BigValueColorMode,
  BigValueGraphMode,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  ScaleDistribution,
  ScaleDistributionConfigBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from "@grafana/grafana-foundation-sdk/common";
import {
  AnnotationQueryBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  defaultDashboard,
  FieldColorBuilder,
  FieldColorModeId,
  MappingType,
  type Panel as GrafanaPanel,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  type ValueMapping,
  VariableRefresh,
  VariableSort,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import {
  HeatmapColorMode,
  HeatmapColorOptionsBuilder,
  PanelBuilder as HeatmapPanel,
  YAxisConfigBuilder,
} from "@grafana/grafana-foundation-sdk/heatmap";
import { PanelBuilder as StatPanel } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as StateTimelinePanel } from "@grafana/grafana-foundation-sdk/statetimeline";
import { PanelBuilder as TablePanel } from "@grafana/grafana-foundation-sdk/table";
import { PanelBuilder as TimeseriesPanel } from "@grafana/grafana-foundation-sdk/timeseries";

import { INGEST_METRICS } from "../catalogue/ingest.ts";
import { PROCESS_METRICS, PROMETHEUS_METRICS } from "../catalogue/platform.ts";
import { SERVICE_METRICS } from "../catalogue/service.ts";
import { above, sum } from "../promql/operators.ts";
import type { VariableName } from "../promql/selector.ts";
import { changes, value } from "../promql/series.ts";
import type { Measure, Vec } from "../promql/vector.ts";
import { layOut } from "./layout.ts";
import type { Dashboard, Levels, Panel, Query, StateName } from "./panel.ts";
import { HERE, MODELS, RATE } from "./scope.ts";
import { GRAFANA_UNITS } from "./unit.ts";

/** Every dashboard carries it; links find the others by it. */
const TAG = "kvsync";

const DATASOURCE: DataSourceRef = { type: "prometheus", uid: "${datasource}" };

/** Plain JSON data. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/**
 * A dashboard as Grafana imports it.
 *
 * @param board - the dashboard.
 * @returns plain data, in a stable order of keys.
 */
export function grafanaDashboard(board: Dashboard): Json {
  const panels = layOut(board).map(({ place, ...item }) => {
    const built =
      item.kind === "row"
        ? new RowBuilder(item.row.title).id(item.row.id).build()
        : grafanaPanel(item.panel).id(item.panel.id).build();
    return { ...built, gridPos: place };
  });
  const filled = {
    ...defaultDashboard(),
    uid: board.uid,
    title: board.title,
    description: board.description,
    tags: [TAG, "generated"],
    editable: false,
    graphTooltip: DashboardCursorSync.Crosshair,
    time: { from: "now-1h", to: "now" },
    timezone: "browser",
    refresh: board.refresh,
    templating: { list: variables(board.variables).map((variable) => variable.build()) },
    annotations: { list: annotations().map((annotation) => annotation.build()) },
    links: [
      new DashboardLinkBuilder("KV sync dashboards")
        .type(DashboardLinkType.Dashboards)
        .tags([TAG])
        .asDropdown(false)
        .includeVars(true)
        .keepTime(true)
        .build(),
    ],
    panels,
  };
  return withoutSurplus(JSON.parse(JSON.stringify(filled)) as Json);
}

/** Settings of interval variables, which the SDK gives to every variable. */
const INTERVAL_ONLY: ReadonlySet<string> = new Set(["auto", "auto_min", "auto_count"]);

/** The SDK hides links and annotations behind a menu, and says of every variable what only interval variables have. */
function withoutSurplus(json: Json): Json {
  if (Array.isArray(json)) return json.map(withoutSurplus);
  if (json === null || typeof json !== "object") return json;
  return Object.fromEntries(
    Object.entries(json)
      .filter(
        ([key, value]) => !INTERVAL_ONLY.has(key) && !(key === "placement" && value === "inControlsMenu"),
      )
      .map(([key, value]) => [key, withoutSurplus(value)]),
  );
}

function labelValues<L extends string>(vector: Vec<L, Measure>, label: NoInfer<L>): string {
  return `label_values(${vector.text}, ${label})`;
}

const VARIABLE_QUERIES: Readonly<Record<VariableName, string>> = {
  job: labelValues(value(SERVICE_METRICS.buildInfo), "job"),
  instance: labelValues(value(SERVICE_METRICS.buildInfo, { job: { variable: "job" } }), "instance"),
  model: labelValues(value(INGEST_METRICS.connectionsActive, HERE), "model"),
  pod: labelValues(value(INGEST_METRICS.streamTrust, MODELS), "pod"),
};

const VARIABLE_LABELS: Readonly<Record<VariableName, string>> = {
  job: "Job",
  instance: "Replica",
  model: "Model",
  pod: "Engine",
};

function variables(names: readonly VariableName[]) {
  const datasource = new DatasourceVariableBuilder("datasource").label("Data source").type("prometheus");
  return [
    datasource,
    ...names.map((name) =>
      new QueryVariableBuilder(name)
        .label(VARIABLE_LABELS[name])
        .datasource(DATASOURCE)
        .query(VARIABLE_QUERIES[name])
        .definition(VARIABLE_QUERIES[name])
        .refresh(VariableRefresh.OnTimeRangeChanged)
        .sort(VariableSort.AlphabeticalAsc)
        .multi(true)
        .includeAll(true)
        .allValue(".+")
        .current({ text: "All", value: "$__all", selected: true }),
    ),
  ];
}

function annotations(): AnnotationQueryBuilder[] {
  const firing = value(PROMETHEUS_METRICS.alerts, { alertstate: "firing", job: { variable: "job" } });
  const restarts = above(sum(changes(PROCESS_METRICS.startTime, RATE, HERE), ["instance"]), 0);
  const annotation = (name: string, color: string, text: string, title: string) =>
    new AnnotationQueryBuilder()
      .name(name)
      .datasource(DATASOURCE)
      .enable(true)
      .iconColor(color)
      .expr(text)
      .titleFormat(title)
      .step("30s");
  return [
    annotation("Alerts", "red", firing.text, "{{alertname}}").tagKeys("severity,instance"),
    annotation("Restarts", "blue", restarts.text, "{{instance}} restarted"),
  ];
}

function grafanaPanel(panel: Panel): Builder<GrafanaPanel> & { id(id: number): Builder<GrafanaPanel> } {
  switch (panel.kind) {
    case "timeseries":
      return timeseriesPanel(panel);
    case "stat":
      return statPanel(panel);
    case "state_timeline":
      return stateTimelinePanel(panel);
    case "heatmap":
      return heatmapPanel(panel);
    case "table":
      return tablePanel(panel);
  }
}

/** What panel builders of all kinds have, as far as it is needed here. */
interface CommonBuilder {
  title(title: string): this;
  description(description: string): this;
  datasource(datasource: DataSourceRef): this;
  withTarget(target: DataqueryBuilder): this;
}

function described<B extends CommonBuilder>(builder: B, panel: Panel): B {
  return builder
    .title(panel.title)
    .description(`${panel.shows}\n\nNormal: ${lowerFirst(panel.normal)}`)
    .datasource(DATASOURCE);
}

function lowerFirst(text: string): string {
  return /^[A-Z][a-z]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}

function target(query: Query, index: number): DataqueryBuilder {
  return new DataqueryBuilder()
    .refId(String.fromCharCode("A".charCodeAt(0) + index))
    .datasource(DATASOURCE)
    .expr(query.text)
    .legendFormat(query.legend);
}

function thresholds(levels: Levels | undefined): ThresholdsConfigBuilder {
  const builder = new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute);
  if (levels === undefined) return builder.steps([{ value: null, color: "green" }]);
  const { warning, critical } = levels;
  if (levels.bad === "above") {
    const steps = [
      { value: null, color: "green" },
      { value: warning, color: critical === undefined ? "red" : "orange" },
    ];
    return builder.steps(critical === undefined ? steps : [...steps, { value: critical, color: "red" }]);
  }
  if (critical === undefined || critical === warning)
    return builder.steps([
      { value: null, color: "red" },
      { value: warning, color: "green" },
    ]);
  return builder.steps([
    { value: null, color: "red" },
    { value: critical, color: "orange" },
    { value: warning, color: "green" },
  ]);
}

function mappings(states: readonly StateName[]): ValueMapping[] {
  const options = Object.fromEntries(
    states.map(({ value, text, color }, index) => [`${value}`, { text, color, index }]),
  );
  return [{ type: MappingType.ValueToText, options }];
}

function legend(): VizLegendOptionsBuilder {
  return new VizLegendOptionsBuilder()
    .displayMode(LegendDisplayMode.List)
    .placement(LegendPlacement.Bottom)
    .showLegend(true);
}

function timeseriesPanel(panel: Panel & { kind: "timeseries" }): TimeseriesPanel {
  const builder = described(new TimeseriesPanel(), panel)
    .unit(GRAFANA_UNITS[panel.measure])
    .thresholds(thresholds(panel.levels))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassicByName))
    .legend(legend())
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending))
    .fillOpacity(panel.stacked === true ? 30 : 8)
    .lineWidth(1);
  if (panel.logarithmic === true)
    builder.scaleDistribution(new ScaleDistributionConfigBuilder().type(ScaleDistribution.Log).log(10));
  else builder.min(0);
  if (panel.stacked === true) builder.stacking(new StackingConfigBuilder().mode(StackingMode.Normal));
  if (panel.levels !== undefined)
    builder.thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed));
  panel.queries.forEach((query, i) => builder.withTarget(target(query, i).range()));
  return builder;
}

function statPanel(panel: Panel & { kind: "stat" }): StatPanel {
  const builder = described(new StatPanel(), panel)
    .unit(GRAFANA_UNITS[panel.measure])
    .thresholds(thresholds(panel.levels))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .colorMode(BigValueColorMode.Value)
    .graphMode(panel.states === undefined ? BigValueGraphMode.Area : BigValueGraphMode.None)
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(["lastNotNull"]).values(false).fields(""));
  if (panel.states !== undefined) builder.mappings(mappings(panel.states));
  panel.queries.forEach((query, i) => builder.withTarget(target(query, i).range()));
  return builder;
}

function stateTimelinePanel(panel: Panel & { kind: "state_timeline" }): StateTimelinePanel {
  const builder = described(new StateTimelinePanel(), panel)
    .unit(GRAFANA_UNITS[panel.measure])
    .thresholds(thresholds(panel.levels))
    .mappings(mappings(panel.states))
    .mergeValues(true)
    .legend(legend())
    .fillOpacity(80);
  panel.queries.forEach((query, i) => builder.withTarget(target(query, i).range()));
  return builder;
}

function heatmapPanel(panel: Panel & { kind: "heatmap" }): HeatmapPanel {
  const ofBuckets = panel.rows === "buckets";
  const builder = described(new HeatmapPanel(), panel)
    .unit(GRAFANA_UNITS[panel.measure])
    .thresholds(thresholds(panel.levels))
    .calculate(false)
    .color(new HeatmapColorOptionsBuilder().mode(HeatmapColorMode.Scheme).scheme("Oranges").steps(64))
    .yAxis(new YAxisConfigBuilder().unit(GRAFANA_UNITS.none))
    .showLegend();
  panel.queries.forEach((query, i) =>
    builder.withTarget(
      target(query, i)
        .format(ofBuckets ? PromQueryFormat.Heatmap : PromQueryFormat.TimeSeries)
        .range(),
    ),
  );
  return builder;
}

/** Rows are joined by their labels; each query's value becomes a column under its title. */
function tablePanel(panel: Panel & { kind: "table" }): TablePanel {
  const builder = described(new TablePanel(), panel)
    .unit(GRAFANA_UNITS.none)
    .thresholds(thresholds(undefined));
  const letters = panel.columns.map((_, i) => String.fromCharCode("A".charCodeAt(0) + i));
  const valueField = (letter: string) => (panel.columns.length === 1 ? "Value" : `Value #${letter}`);
  panel.columns.forEach((column, i) =>
    builder.withTarget(target(column.query, i).format(PromQueryFormat.Table).instant()),
  );
  builder.withTransformation({ id: "merge", options: {} });
  builder.withTransformation({
    id: "organize",
    options: {
      excludeByName: { Time: true },
      indexByName: {},
      renameByName: Object.fromEntries(
        panel.columns.map((column, i) => [valueField(letters[i] ?? ""), column.title]),
      ),
    },
  });
  for (const { title, query, levels } of panel.columns) {
    const properties = [{ id: "unit", value: GRAFANA_UNITS[query.measure] as Json }];
    if (levels !== undefined) {
      properties.push({
        id: "thresholds",
        value: JSON.parse(JSON.stringify(thresholds(levels).build())) as Json,
      });
      properties.push({ id: "custom.cellOptions", value: { type: "color-text" } });
    }
    builder.overrideByName(title, properties);
  }
  const { drillDown } = panel;
  if (drillDown !== undefined) {
    const url = `/d/${drillDown.uid}?var-${drillDown.variable}=\${__value.raw}&\${__url_time_range}`;
    builder.overrideByName(drillDown.variable, [{ id: "links", value: [{ title: "Only this one", url }] }]);
  }
  return builder;
}
