/** Row of the dashboard "KV sync service and system": Log and traces. */

import { TELEMETRY_METRICS } from "../../catalogue/telemetry.ts";
import { sum } from "../../../promql/operators.ts";
import { rate } from "../../../promql/series.ts";
import { query, row, timeseries } from "../../../dashboards/panel.ts";
import { HERE, RATE } from "../scope.ts";

/** The row with its panels. */
export const LOG_AND_TRACES = row({
  id: 106,
  title: "Log and traces",
  folded: true,
  panels: {
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
