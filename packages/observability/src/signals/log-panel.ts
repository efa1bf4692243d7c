/**
 * A panel of Loki as Grafana's JSON: lines of the log, or their number over time.
 *
 * Not here: queries (log-query.ts), panels of metrics (dashboards/).
 */

import type { Json } from "../json.ts";

/** A data source as a panel names it. */
export interface LokiReference {
  readonly type: "loki";
  readonly uid: string;
}

/** What a panel says and asks. */
export interface LogPanelSpec {
  readonly id: number;
  readonly title: string;
  readonly description: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly view: "lines" | "counts";
  readonly datasource: LokiReference;
  readonly expr: string;
}

/** Lines that a panel shows at once. */
const LINES_MAX = 200;

/**
 * The panel.
 *
 * @param spec - its data; `counts` has an expression by `event`.
 */
export function logPanel({ id, title, description, gridPos, view, datasource, expr }: LogPanelSpec): Json {
  const isLines = view === "lines";
  const target = {
    refId: "A",
    datasource,
    expr,
    ...(isLines ? {} : { legendFormat: "{{event}}" }),
    queryType: "range",
    ...(isLines ? { maxLines: LINES_MAX } : {}),
  };
  const options = isLines
    ? {
        showTime: true,
        wrapLogMessage: true,
        enableLogDetails: true,
        sortOrder: "Descending",
        dedupStrategy: "none",
      }
    : {
        legend: { displayMode: "list", placement: "bottom", showLegend: true },
        tooltip: { mode: "multi", sort: "desc" },
      };
  const defaults = isLines
    ? {}
    : { unit: "short", min: 0, custom: { drawStyle: "bars", stacking: { mode: "normal" } } };
  return {
    id,
    type: isLines ? "logs" : "timeseries",
    title,
    description,
    datasource,
    gridPos,
    fieldConfig: { defaults, overrides: [] },
    options,
    targets: [target],
  } as unknown as Json;
}
