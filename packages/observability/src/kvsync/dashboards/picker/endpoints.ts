/** Row of the dashboard "KV endpoint picker": Endpoints. */

import { type LOAD_KINDS, PICKER_METRICS } from "../../catalogue/picker.ts";
import { max, ratio, sum, top } from "../../../promql/operators.ts";
import { rate, value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { type Panel, query, row, timeseries } from "../../../dashboards/panel.ts";
import { HERE, INSTANCE, RATE } from "../scope.ts";

/** Lines of a panel: an operator reads no more of them. */
const TOP = 20;

/** The endpoints with the most of one kind of load. */
function busiest(
  kind: (typeof LOAD_KINDS)[number],
  { id, title, shows, normal }: { id: number; title: string; shows: string; normal: string },
): Panel {
  const loads = max(value(PICKER_METRICS.endpointLoad, { ...HERE, kind }), ["endpoint"]);
  const queries = [query(top(TOP, loads), (label) => label("endpoint"))] as const;
  return timeseries({ id, title, shows, normal, width: 8, height: 8, queries });
}

/** The row with its panels. */
export const ENDPOINTS = row({
  id: 102,
  title: "Endpoints",
  folded: true,
  panels: {
    states: timeseries({
      id: 14,
      title: "Endpoints by state",
      shows:
        "Endpoints of the replica that has the most of each state. In penalty: it did not serve its last picks. Stale: their source cannot be read.",
      normal: "All eligible.",
      width: 8,
      height: 8,
      queries: [query(max(value(PICKER_METRICS.endpoints, HERE), ["state"]), (label) => label("state"))],
    }),
    running: busiest("running", {
      id: 15,
      title: "Running requests, top 20",
      shows:
        "Requests running at each endpoint, waiting ones and those of others included; the 20 with the most.",
      normal: "Close together, as far as prompts have no common beginnings.",
    }),
    waiting: busiest("waiting", {
      id: 16,
      title: "Waiting requests, top 20",
      shows: "Requests waiting at each endpoint for their first token; the 20 with the most.",
      normal: "A few.",
    }),
    pending: busiest("pending_tokens", {
      id: 17,
      title: "Pending prompt tokens, top 20",
      shows: "Pending tokens of each endpoint, which it computes before it answers; the 20 with the most.",
      normal: "Close together: the policy spreads them.",
    }),
    context: busiest("context_tokens", {
      id: 18,
      title: "Context tokens, top 20",
      shows: "Context tokens of each endpoint: all of its prompts; the 20 with the most.",
      normal: "Below the endpoint's KV cache.",
    }),
    foreign: busiest("foreign_running", {
      id: 19,
      title: "Foreign requests, top 20",
      shows: "Foreign requests at each endpoint, which this replica did not send; the 20 with the most.",
      normal: "With several replicas, what the others send.",
    }),
    servedElsewhere: timeseries({
      id: 20,
      title: "Served elsewhere",
      shows: "Share of requests that another endpoint than the picked one answered, by replica.",
      normal: "0 %, except for retries while an engine restarts.",
      width: 8,
      height: 8,
      queries: [
        query(
          ratio(
            sum(rate(PICKER_METRICS.servedElsewhere, RATE, HERE), INSTANCE),
            sum(rate(PICKER_METRICS.requests, RATE, HERE), INSTANCE),
          ),
          (label) => label("instance"),
        ),
      ],
      levels: { warning: THRESHOLDS.servedElsewhereRatio, bad: "above" },
    }),
    scrapes: timeseries({
      id: 21,
      title: "Looks at endpoints' metrics",
      shows: "Fetched pages per second, by outcome.",
      normal: "All ok, for each endpoint at the interval picker.scrape_ms.",
      width: 8,
      height: 8,
      queries: [
        query(sum(rate(PICKER_METRICS.scrapes, RATE, HERE), ["outcome"]), (label) => label("outcome")),
      ],
    }),
    scrapeAge: timeseries({
      id: 22,
      title: "Age of endpoints' metrics",
      shows: "Time since the last good look at the endpoint where it is oldest, by replica.",
      normal: "Below 1 s.",
      width: 8,
      height: 8,
      queries: [query(max(value(PICKER_METRICS.scrapeAge, HERE), INSTANCE), (label) => label("instance"))],
      levels: { warning: THRESHOLDS.scrapeAgeSeconds, bad: "above" },
    }),
  },
});
