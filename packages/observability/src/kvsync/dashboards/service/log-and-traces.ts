/** Row of the dashboard "KV sync service and system": Log and traces. */

import { TELEMETRY_METRICS } from "../../catalogue/telemetry.ts";
import { sum } from "../../../promql/operators.ts";
import { rate } from "../../../promql/series.ts";
import { logs, query, row, timeseries } from "../../../dashboards/panel.ts";
import { HERE, RATE } from "../scope.ts";

/** The row with its panels. */
export const LOG_AND_TRACES = row({
  id: 106,
  title: "Log and traces",
  folded: true,
  panels: {
    warnings: logs({
      id: 52,
      title: "Warnings and errors",
      shows: "Lines of these levels, newest first, from Loki.",
      normal: "Few lines, each with a cause that you know.",
      width: 24,
      height: 9,
      view: "lines",
      levels: ["warn", "error", "fatal"],
    }),
    linesByEvent: logs({
      id: 53,
      title: "Lines by event",
      shows: "Lines of the log by event, from Loki. The dashboard of the log has them by component.",
      normal: "No event grows without a change of the fleet or the load.",
      width: 24,
      height: 8,
      view: "counts",
      levels: [],
    }),
    logLinesDropped: timeseries({
      id: 50,
      title: "Log lines left out",
      shows: "Log lines dropped per second because the thread's rate limit was reached.",
      normal: "0; at the levels 2 to 5 under load the log is a sample.",
      width: 12,
      height: 8,
      queries: [
        query(
          sum(rate(TELEMETRY_METRICS.logLinesDropped, RATE, HERE), ["instance", "thread"]),
          (label) => `${label("instance")} ${label("thread")}`,
        ),
      ],
    }),
    spans: timeseries({
      id: 51,
      title: "Spans",
      shows: "Sampled spans per second by what became of them. Empty while tracing is off.",
      normal: "Only exported.",
      width: 12,
      height: 8,
      queries: [
        query(sum(rate(TELEMETRY_METRICS.spans, RATE, HERE), ["outcome"]), (label) => label("outcome")),
      ],
    }),
  },
});
