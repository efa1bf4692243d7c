/**
 * Dashboards as data that does not depend on a version of Grafana's schema: rows of panels. A panel
 * has a question, its queries, and the normal state. The file grafana.ts turns them into Grafana's
 * JSON,
 * preview.ts into a picture, documents/ into the panel guide.
 *
 * Ids are written down, not counted: links and alerts point at them, so a panel keeps its id when others come and go.
 */

import { quantile, quantileName } from "../promql/operators.ts";
import type { Measure, SummedBuckets, Vec } from "../promql/vector.ts";
import type { LineLevel } from "../signals/log-event.ts";

/** One query of a panel. */
export interface Query<M extends Measure = Measure> {
  readonly text: string;
  /** Grafana's legend template. */
  readonly legend: string;
  readonly measure: M;
  /** Metric labels of the result, for table columns. */
  readonly labels: readonly string[];
}

/** Where values turn from good to bad, in the panel's measure. */
export interface Levels {
  readonly warning: number;
  readonly critical?: number;
  /** Which side of the levels is bad. */
  readonly bad: "above" | "below";
}

/** A whole number with a name and a colour. */
export interface StateName {
  readonly value: number;
  readonly text: string;
  readonly color: "green" | "yellow" | "orange" | "red" | "blue";
}

/** What every panel says. */
interface PanelBase<M extends Measure> {
  /** Fixed, unique in its dashboard. */
  readonly id: number;
  readonly title: string;
  /** What it shows and how to read it; sentences. */
  readonly shows: string;
  /** What it looks like when all is well; a sentence. */
  readonly normal: string;
  /** Grid columns of 24. */
  readonly width: number;
  /** Grid rows of 30 pixels. */
  readonly height: number;
  readonly queries: readonly [Query<M>, ...Query<NoInfer<M>>[]];
  readonly levels?: Levels;
  /** What a rate counts, where it is no operations or events. */
  readonly counts?: "requests" | "messages";
}

/** Lines over time. */
export interface TimeseriesSpec<M extends Measure> extends PanelBase<M> {
  /** True when the series are parts of a whole. */
  readonly stacked?: boolean;
  /** At most so many lines of each query, the largest at each moment: for a line per engine or pod. */
  readonly most?: number;
  /** Logarithmic axis, for values over several orders of magnitude. */
  readonly logarithmic?: boolean;
}

/** One big number, or one per series. */
export interface StatSpec<M extends Measure> extends PanelBase<M> {
  readonly states?: readonly StateName[];
}

/** One bar per series, from 0 to the most that there can be. */
export interface BarGaugeSpec<M extends Measure> extends PanelBase<M> {
  /** The end of the scale, in the panel's measure. */
  readonly full: number;
}

/** Coloured bands over time; values are whole numbers with names. */
export interface StateTimelineSpec<M extends Measure> extends PanelBase<M> {
  /** At most so many lines of each query, the largest at each moment. */
  readonly most?: number;
  readonly states: readonly StateName[];
}

/** Density over time: buckets of a histogram, or one row per series. */
export interface HeatmapSpec<M extends Measure> extends PanelBase<M> {
  readonly rows: "buckets" | "series";
}

/** One row per label combination, one column per query. */
export interface TableSpec {
  readonly id: number;
  readonly title: string;
  readonly shows: string;
  readonly normal: string;
  readonly width: number;
  readonly height: number;
  readonly columns: readonly [Column, ...Column[]];
  /** Where the value of a label leads. */
  readonly links?: readonly { readonly label: string; readonly title: string; readonly url: string }[];
  /** The order of rows, by a column. Absent: that of Prometheus. */
  readonly order?: { readonly column: string; readonly first: "largest" | "smallest" };
}

/** One column of a table. */
interface Column {
  readonly title: string;
  readonly query: Query;
  readonly levels?: Levels;
  /** Whether a bar in the cell shows the share of the largest value in the column. */
  readonly bar?: boolean;
}

/** Lines of the log, or their number over time by event. They come from Loki. */
export interface LogsSpec {
  readonly id: number;
  readonly title: string;
  readonly shows: string;
  readonly normal: string;
  readonly width: number;
  readonly height: number;
  readonly view: "lines" | "counts";
  /** Lines of these levels alone; empty: all. */
  readonly levels: readonly LineLevel[];
}

/** Any panel. */
export type Panel =
  | ({ readonly kind: "timeseries"; readonly measure: Measure } & TimeseriesSpec<Measure>)
  | ({ readonly kind: "stat"; readonly measure: Measure } & StatSpec<Measure>)
  | ({ readonly kind: "bar_gauge"; readonly measure: Measure } & BarGaugeSpec<Measure>)
  | ({ readonly kind: "state_timeline"; readonly measure: Measure } & StateTimelineSpec<Measure>)
  | ({ readonly kind: "heatmap"; readonly measure: Measure } & HeatmapSpec<Measure>)
  | ({ readonly kind: "table" } & TableSpec)
  | ({ readonly kind: "logs" } & LogsSpec);

/** A panel with queries of one measure. */
export type MeasuredPanel = Extract<Panel, { readonly measure: Measure }>;

/** Panels under a heading. */
export interface Row<Keys extends string = string> {
  /** Fixed, unique in its dashboard, panels included. */
  readonly id: number;
  readonly title: string;
  /** Closed until someone opens it: Grafana asks nothing for its panels before. */
  readonly folded?: boolean;
  /** In reading order. */
  readonly panels: Readonly<Record<Keys, Panel>>;
}

/** A choice at the top of a dashboard: the values that a label has. */
export interface Variable {
  /** The label, by which queries are matched with the choice. */
  readonly name: string;
  readonly title: string;
  /** Grafana's query for the values. */
  readonly query: string;
}

/** A dashboard. */
export interface Dashboard<Keys extends string = string> {
  /** Fixed; at most 40 characters; part of every link. */
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  /** The template variables beside the data source. */
  readonly variables: readonly Variable[];
  readonly refresh: "5s" | "10s" | "30s";
  readonly rows: readonly Row[];
  /** Panels of all rows. */
  readonly panels: Readonly<Record<Keys, Panel>>;
}

/** Keys of the panels in a union of rows. */
type PanelKeys<OneRow> = OneRow extends Row<infer Keys> ? Keys : never;

/** A place that an alert points at. */
export interface PanelReference {
  readonly uid: string;
  readonly dashboard: string;
  readonly id: number;
  readonly title: string;
}

/**
 * A query with its legend.
 *
 * @param vector - what to ask.
 * @param legend - fixed text, or a function of the labels that the vector has.
 * @returns the query, its label set erased.
 */
export function query<L extends string, M extends Measure>(
  vector: Vec<L, M>,
  legend: string | ((label: (name: L) => string) => string),
): Query<M> {
  const text = typeof legend === "string" ? legend : legend((name) => `{{${name}}}`);
  return { text: vector.text, legend: text, measure: vector.measure, labels: vector.labels };
}

/**
 * Several quantiles of one distribution, each under a legend that is made from its number.
 *
 * @param buckets - summed by the labels that tell its lines apart.
 * @param quantiles - each 0 to 1.
 * @returns one query for each, `p50`, `p99`, `p99.9`, before them the values of the labels.
 */
export function quantileQueries<L extends string, M extends Measure>(
  buckets: SummedBuckets<L, M>,
  quantiles: readonly [number, ...number[]],
): readonly [Query<M>, ...Query<M>[]] {
  const [first, ...others] = quantiles;
  const one = (q: number) =>
    query(quantile(q, buckets), (label) =>
      [...buckets.labels.map((name) => label(name)), quantileName(q)].join(" "),
    );
  return [one(first), ...others.map(one)];
}

/**
 * A query of a heat map over buckets.
 *
 * @param buckets - summed by `le` alone, or one heat map would lie over another.
 * @returns the query.
 */
export function bucketsQuery(buckets: SummedBuckets<never, Measure>): Query<"per_second"> {
  return { text: buckets.text, legend: "{{le}}", measure: "per_second", labels: ["le"] };
}

/**
 * A choice at the top of a dashboard.
 *
 * @param name - a label of the series.
 * @param title - for people.
 * @param series - whose values of the label are offered; matched with the choices before it.
 * @returns the variable.
 */
export function variable<L extends string>(
  name: NoInfer<L>,
  title: string,
  series: Vec<L, Measure>,
): Variable {
  return { name, title, query: `label_values(${series.text}, ${name})` };
}

/**
 * Lines over time.
 *
 * @param spec - all queries of one measure, which becomes the axis.
 * @returns the panel.
 */
export function timeseries<M extends Measure>(spec: TimeseriesSpec<M>): Panel {
  return { kind: "timeseries", measure: spec.queries[0].measure, ...limited(spec) };
}

/** The same with the largest lines alone, where the spec says how many. */
function limited<Spec extends PanelBase<Measure> & { readonly most?: number }>(spec: Spec): Spec {
  const { most, shows } = spec;
  if (most === undefined) return spec;
  const [first, ...others] = spec.queries;
  const ranked = (one: Query): Query => ({ ...one, text: `topk(${most}, ${one.text})` });
  return {
    ...spec,
    queries: [ranked(first), ...others.map(ranked)],
    shows: `${shows} At most ${most} lines, the largest at each moment.`,
  };
}

/**
 * One big number.
 *
 * @param spec - all queries of one measure.
 * @returns the panel.
 */
export function stat<M extends Measure>(spec: StatSpec<M>): Panel {
  return { kind: "stat", measure: spec.queries[0].measure, ...spec };
}

/**
 * Bars that show how full something is now.
 *
 * @param spec - all queries of one measure.
 * @returns the panel.
 */
export function barGauge<M extends Measure>(spec: BarGaugeSpec<M>): Panel {
  return { kind: "bar_gauge", measure: spec.queries[0].measure, ...spec };
}

/**
 * Coloured bands over time.
 *
 * @param spec - the states that its values stand for.
 * @returns the panel.
 */
export function stateTimeline<M extends Measure>(spec: StateTimelineSpec<M>): Panel {
  return { kind: "state_timeline", measure: spec.queries[0].measure, ...limited(spec) };
}

/**
 * Density over time.
 *
 * @param spec - one query.
 * @returns the panel.
 */
export function heatmap<M extends Measure>(spec: HeatmapSpec<M>): Panel {
  return { kind: "heatmap", measure: spec.queries[0].measure, ...spec };
}

/**
 * A table with one row per label combination.
 *
 * @param spec - its columns; all queries carry the same labels, by which rows are joined.
 * @returns the panel.
 */
export function table(spec: TableSpec): Panel {
  return { kind: "table", ...spec };
}

/**
 * Lines of the log.
 *
 * @param spec - which, and how they are shown.
 * @returns the panel; a project without Loki has none.
 */
export function logs(spec: LogsSpec): Panel {
  return { kind: "logs", ...spec };
}

/**
 * Defines a row.
 *
 * @param spec - its panels by key; a key is unique in the dashboard.
 * @returns the same, with the keys as literal types.
 */
export function row<Keys extends string>(spec: Row<Keys>): Row<Keys> {
  return spec;
}

/**
 * Defines a dashboard.
 *
 * @param spec - its data and rows.
 * @returns the dashboard; an alert names a panel of any row by key.
 * @throws RangeError when two rows have a panel of the same key.
 */
export function dashboard<Rows extends readonly Row[]>(
  spec: Omit<Dashboard, "rows" | "panels"> & { readonly rows: Rows },
): Dashboard<PanelKeys<Rows[number]>> {
  const panels = {} as Record<PanelKeys<Rows[number]>, Panel>;
  for (const { title, panels: own } of spec.rows) {
    for (const [key, panel] of Object.entries(own) as [PanelKeys<Rows[number]>, Panel][]) {
      if (key in panels) throw new RangeError(`row ${title} of ${spec.uid}: a panel ${key} exists already`);
      panels[key] = panel;
    }
  }
  return { ...spec, panels };
}

/**
 * Points at a panel.
 *
 * @param board - a dashboard.
 * @param key - one of its panels.
 * @returns what a link needs.
 */
export function panelOf<Keys extends string>(board: Dashboard<Keys>, key: NoInfer<Keys>): PanelReference {
  const panel = board.panels[key];
  return { uid: board.uid, dashboard: board.title, id: panel.id, title: panel.title };
}

/**
 * All queries of a panel.
 *
 * @param panel - any.
 * @returns in the order of their letters.
 */
export function queriesOf(panel: Panel): readonly Query[] {
  if (panel.kind === "logs") return [];
  return panel.kind === "table" ? panel.columns.map((column) => column.query) : panel.queries;
}
