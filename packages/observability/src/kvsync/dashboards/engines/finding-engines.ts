/** Row of the dashboard "KV engines": Finding engines. */

import { DISCOVERY_METRICS } from "../../catalogue/discovery.ts";
import { max, sum } from "../../../promql/operators.ts";
import { rate, value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, stateTimeline, timeseries } from "../../../dashboards/panel.ts";
import { HERE, RATE } from "../scope.ts";

/** The row with its panels. */
export const FINDING_ENGINES = row({
  id: 104,
  title: "Finding engines",
  folded: true,
  panels: {
    discoveryState: stateTimeline({
      id: 20,
      title: "Sources of engines",
      shows:
        "Whether a source (configuration file, registrations over HTTP, Kubernetes) is behind, by replica.",
      normal: "Up to date. While a source is stale, the engines that it named last are followed on.",
      width: 12,
      height: 6,
      queries: [
        query(
          max(value(DISCOVERY_METRICS.state, { ...HERE, state: "stale" }), ["instance", "source"]),
          (label) => `${label("source")} ${label("instance")}`,
        ),
      ],
      states: [
        { value: 0, text: "up to date", color: "green" },
        { value: 1, text: "stale", color: "red" },
      ],
    }),
    discoveryAge: timeseries({
      id: 21,
      title: "Age of the list of engines",
      shows: "Time since a source was last known to be up to date, by source and replica.",
      normal: "Below 10 minutes: short for the file, longer for Kubernetes.",
      width: 12,
      height: 6,
      queries: [
        query(
          max(value(DISCOVERY_METRICS.age, HERE), ["instance", "source"]),
          (label) => `${label("source")} ${label("instance")}`,
        ),
      ],
      levels: { warning: THRESHOLDS.discoveryAgeSeconds, bad: "above" },
    }),
    wanted: timeseries({
      id: 22,
      title: "Engines wanted",
      shows:
        "Engines that each source wants followed, and those of this shard (own) and of other shards (elsewhere), by replica.",
      normal: "The size of the fleet, alike on all replicas. Without shards, none is elsewhere.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(value(DISCOVERY_METRICS.engines, HERE), ["instance", "source"]),
          (label) => `${label("source")} ${label("instance")}`,
        ),
        query(
          sum(value(DISCOVERY_METRICS.shardEngines, HERE), ["instance", "shard"]),
          (label) => `${label("shard")} ${label("instance")}`,
        ),
      ],
    }),
    refused: timeseries({
      id: 23,
      title: "Engines refused",
      shows: "Engines that a source wants and that are not followed for it, by reason.",
      normal: "0; duplicates where engines are listed and found as well, which costs nothing.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(value(DISCOVERY_METRICS.refused, HERE), ["source", "reason"]),
          (label) => `${label("source")} ${label("reason")}`,
        ),
      ],
    }),
    refusals: timeseries({
      id: 24,
      title: "Refusals",
      shows: "Engines per second that began to be refused, by source and reason.",
      normal: "0 but for roll-outs.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(rate(DISCOVERY_METRICS.refusals, RATE, HERE), ["source", "reason"]),
          (label) => `${label("source")} ${label("reason")}`,
        ),
      ],
    }),
    discoveryFailures: timeseries({
      id: 25,
      title: "Failures in finding engines",
      shows: "Failures per second, by source and reason.",
      normal: "0; single ones when an API server is rolled.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(rate(DISCOVERY_METRICS.failures, RATE, HERE), ["source", "reason"]),
          (label) => `${label("source")} ${label("reason")}`,
        ),
      ],
    }),
    pods: timeseries({
      id: 26,
      title: "Pods",
      shows: "Pods that the selector enables, and those of them that are eligible, by replica.",
      normal: "Close together; apart while pods start or end.",
      width: 8,
      height: 8,
      queries: [
        query(
          sum(value(DISCOVERY_METRICS.pods, HERE), ["instance", "status"]),
          (label) => `${label("status")} ${label("instance")}`,
        ),
      ],
    }),
    podsWaiting: timeseries({
      id: 28,
      title: "Pods that wait",
      shows: "Pods that are known and no engines at the moment, by reason and replica.",
      normal: "0, except while pods start or end.",
      width: 8,
      height: 8,
      queries: [
        query(
          sum(value(DISCOVERY_METRICS.waiting, HERE), ["instance", "reason"]),
          (label) => `${label("reason")} ${label("instance")}`,
        ),
      ],
    }),
    apiRequests: timeseries({
      id: 27,
      title: "Requests to the API server",
      shows: "Lists and watches that the Kubernetes API server answered well, per second.",
      normal: "Few: watches and lists of each namespace and replica, renewed now and then.",
      width: 8,
      height: 8,
      queries: [
        query(sum(rate(DISCOVERY_METRICS.requests, RATE, HERE), ["request"]), (label) => label("request")),
      ],
    }),
  },
});
