/** Row of the dashboard "KV sync service and system": Requests. */

import { SERVICE_METRICS } from "../../catalogue/service.ts";
import { max, quantile, sum, summed } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { bucketRate, rate } from "../../../promql/series.ts";
import { RECORDINGS } from "../../rules/recordings.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, timeseries } from "../../../dashboards/panel.ts";
import { HERE, INSTANCE, LINES_MAX, RATE } from "../scope.ts";

/** The row with its panels. */
export const REQUESTS = row({
  id: 101,
  title: "Requests",
  panels: {
    requests: timeseries({
      id: 6,
      title: "Requests by route",
      counts: "requests",
      shows: "HTTP requests per second, by route template.",
      normal: "Mostly matches.",
      width: 8,
      height: 8,
      queries: [query(sum(recorded(RECORDINGS.requestRate, HERE), ["route"]), (label) => label("route"))],
    }),
    errorRatio: timeseries({
      id: 7,
      title: "Error ratio by replica",
      shows: "HTTP errors per request, which are answers with a 5xx status, over five minutes.",
      normal: "0 %.",
      width: 8,
      height: 8,
      queries: [query(max(recorded(RECORDINGS.errorRatio, HERE), INSTANCE), (label) => label("instance"))],
      levels: { warning: 0.01, critical: THRESHOLDS.requestErrorRatio, bad: "above" },
    }),
    errorCodes: timeseries({
      id: 8,
      title: "Errors by code",
      most: LINES_MAX,
      counts: "requests",
      shows:
        "Requests per second answered with a problem document, by its code. 4xx codes are callers' mistakes.",
      normal: "0; a caller with an old model list shows as unknown_model.",
      width: 8,
      height: 8,
      queries: [
        query(
          sum(rate(SERVICE_METRICS.httpRequestErrors, RATE, HERE), ["route", "code"]),
          (label) => `${label("code")} ${label("route")}`,
        ),
      ],
    }),
    latency: timeseries({
      id: 9,
      title: "Response time",
      shows: "Request time p50, p95 and p99, each of the slowest route.",
      normal: "p95 below 10 ms.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: [
        query(max(recorded(RECORDINGS.requestP50, HERE), []), "p50"),
        query(max(recorded(RECORDINGS.requestP95, HERE), []), "p95"),
        query(max(recorded(RECORDINGS.requestP99, HERE), []), "p99"),
      ],
      levels: { warning: THRESHOLDS.requestSeconds, bad: "above" },
    }),
    latencyByRoute: timeseries({
      id: 10,
      title: "Response time p95 by route",
      shows: "Request time that 95 % stay below, by route template.",
      normal: "Below 10 ms for matches; dumps take as long as they are large.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: [query(max(recorded(RECORDINGS.requestP95, HERE), ["route"]), (label) => label("route"))],
      levels: { warning: THRESHOLDS.requestSeconds, bad: "above" },
    }),
    size: timeseries({
      id: 11,
      title: "Response size p95 by route",
      shows: "Bytes of response bodies that 95 % stay below, by route template.",
      normal: "Below 1 MB; large fleets without top_k give large answers.",
      width: 8,
      height: 8,
      queries: [
        query(
          quantile(0.95, summed(bucketRate(SERVICE_METRICS.httpResponseSize, RATE, HERE), ["route"])),
          (label) => label("route"),
        ),
      ],
    }),
    pageTraffic: timeseries({
      id: 31,
      title: "Traffic of the web page",
      shows: "Bytes per second that each replica writes to viewers of its web page.",
      normal: "0 without viewers; at most some ten kilobytes for each.",
      width: 12,
      height: 8,
      queries: [
        query(sum(rate(SERVICE_METRICS.dashboardStreamBytes, RATE, HERE), INSTANCE), (label) =>
          label("instance"),
        ),
      ],
    }),
    pageDeltas: timeseries({
      id: 32,
      title: "Deltas for the web page",
      shows: "Deltas per second for viewers of the web page, sent and skipped.",
      normal: "One for each viewer is sent; a viewer behind a slow line makes some skipped.",
      width: 12,
      height: 8,
      queries: [
        query(sum(rate(SERVICE_METRICS.dashboardDeltas, RATE, HERE), ["outcome"]), (label) =>
          label("outcome"),
        ),
      ],
    }),
  },
});
