/** Row of the dashboard "KV sync service and system": Now. */

import { PROCESS_METRICS, PROMETHEUS_METRICS } from "../../../exporters.ts";
import { age, max, min, sum } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { value } from "../../../promql/series.ts";
import { RECORDINGS } from "../../rules/recordings.ts";
import { COMPONENTS } from "../../rules/teams.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { firingCount, firingList } from "../../../dashboards/firing-alerts.ts";
import { query, row, stat, stateTimeline } from "../../../dashboards/panel.ts";
import { HERE, INSTANCE } from "../scope.ts";

/** The row with its panels. */
export const NOW = row({
  id: 100,
  title: "Now",
  panels: {
    firing: firingCount(COMPONENTS, { id: 70, width: 4, height: 5 }),
    up: stateTimeline({
      id: 1,
      title: "Replicas up",
      shows: "Whether Prometheus could scrape each replica.",
      normal: "Up all the time.",
      width: 8,
      height: 5,
      queries: [query(max(value(PROMETHEUS_METRICS.up, HERE), INSTANCE), (label) => label("instance"))],
      states: [
        { value: 0, text: "down", color: "red" },
        { value: 1, text: "up", color: "green" },
      ],
    }),
    uptime: stat({
      id: 2,
      title: "Youngest process",
      shows: "Time since the last start of any chosen replica.",
      normal: "Grows; a young process after no rollout is a crash.",
      width: 4,
      height: 5,
      queries: [query(min(age(value(PROCESS_METRICS.startTime, HERE)), []), "uptime")],
    }),
    requestsNow: stat({
      id: 3,
      title: "Requests per second",
      counts: "requests",
      shows: "HTTP requests over five minutes, all routes.",
      normal: "Follows the gateways' traffic.",
      width: 4,
      height: 5,
      queries: [query(sum(recorded(RECORDINGS.requestRate, HERE), []), "requests/s")],
    }),
    errorsNow: stat({
      id: 4,
      title: "Error ratio",
      shows:
        "HTTP errors per request, which are answers with a 5xx status, over five minutes, worst replica.",
      normal: "0 %.",
      width: 4,
      height: 5,
      queries: [query(max(recorded(RECORDINGS.errorRatio, HERE), []), "errors")],
      levels: { warning: 0.01, critical: THRESHOLDS.requestErrorRatio, bad: "above" },
    }),
    alerts: firingList(COMPONENTS, { id: 71, width: 24, height: 6 }),
  },
});
