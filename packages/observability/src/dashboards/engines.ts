/**
 * The dashboard of the engines: one row per engine, then each of its figures over time. Which engine is it?
 */

import { DISCOVERY_METRICS } from "../catalogue/discovery.ts";
import { INGEST_METRICS } from "../catalogue/ingest.ts";
import { max, min, quantile, sum, summed } from "../promql/operators.ts";
import { bucketRate, countIncrease, countRate, increase, rate, value } from "../promql/series.ts";
import { HARMLESS_DROP_REASONS } from "../rules/drop-reasons.ts";
import { THRESHOLDS } from "../rules/thresholds.ts";
import { dashboard, query, stateTimeline, table, timeseries } from "./panel.ts";
import { HERE, PODS, RATE } from "./scope.ts";

const M = INGEST_METRICS;
const D = DISCOVERY_METRICS;
const ENGINE = ["pod", "model"] as const;

/** Every replica follows every engine: a sum over replicas would count each stream as often as there are replicas. */
const EACH_REPLICA = ["instance", ...ENGINE] as const;

const trusted = { ...PODS, trust: "exact" } as const;
const lossy = { reason: { not: HARMLESS_DROP_REASONS } } as const;
const untrusted = { ...PODS, trust: ["partial", "stale", "unknown"] } as const;

/** Engines. */
export const ENGINES = dashboard({
  uid: "kvsync-engines",
  title: "KV engines",
  description: "One row per engine: state, trust, position, lag, gaps and replays of its streams.",
  variables: ["job", "instance", "model", "pod"],
  refresh: "10s",
  rows: [
    { id: 100, title: "Each engine", panels: ["engines"] },
    { id: 101, title: "State", panels: ["trust", "states", "connections"] },
    {
      id: 102,
      title: "Position and lag",
      panels: ["lastEvent", "position", "events", "blocks", "blocksChanged"],
    },
    { id: 103, title: "Loss and repair", panels: ["gaps", "gapSize", "replays", "dropped"] },
    {
      id: 104,
      title: "Finding engines",
      panels: [
        "discoveryState",
        "discoveryAge",
        "wanted",
        "refused",
        "refusals",
        "discoveryFailures",
        "pods",
        "apiRequests",
      ],
    },
  ],
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
          max(value(D.state, { ...HERE, state: "stale" }), ["instance", "source"]),
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
      normal: "Seconds for the file, minutes at most for Kubernetes.",
      width: 12,
      height: 6,
      queries: [
        query(
          max(value(D.age, HERE), ["instance", "source"]),
          (label) => `${label("source")} ${label("instance")}`,
        ),
      ],
      levels: { warning: THRESHOLDS.discoveryAgeSeconds, bad: "above" },
    }),
    wanted: timeseries({
      id: 22,
      title: "Engines wanted",
      shows: "Engines that each source wants followed, by replica.",
      normal: "The size of the fleet, alike on all replicas.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(value(D.engines, HERE), ["instance", "source"]),
          (label) => `${label("source")} ${label("instance")}`,
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
          sum(value(D.refused, HERE), ["source", "reason"]),
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
          sum(rate(D.refusals, RATE, HERE), ["source", "reason"]),
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
          sum(rate(D.failures, RATE, HERE), ["source", "reason"]),
          (label) => `${label("source")} ${label("reason")}`,
        ),
      ],
    }),
    pods: timeseries({
      id: 26,
      title: "Pods",
      shows: "Pods with the label that enables, and those of them that are eligible, by replica.",
      normal: "Close together; apart while pods start or end.",
      width: 12,
      height: 8,
      queries: [
        query(
          sum(value(D.pods, HERE), ["instance", "status"]),
          (label) => `${label("status")} ${label("instance")}`,
        ),
      ],
    }),
    apiRequests: timeseries({
      id: 27,
      title: "Requests to the API server",
      shows: "Lists and watches that the Kubernetes API server answered well, per second.",
      normal: "A watch every few minutes, a list twice an hour, for each namespace and replica.",
      width: 12,
      height: 8,
      queries: [query(sum(rate(D.requests, RATE, HERE), ["request"]), (label) => label("request"))],
    }),
    engines: table({
      id: 1,
      title: "Engines",
      shows:
        "One row per engine. Streams are its DP ranks; the last event's age is that of its quietest stream. With several replicas, each figure is the worst one's. Drops that lose nothing are left out.",
      normal:
        "Not exact is 0; ages and blocks are close to each other; no gaps, no failed replays, no drops.",
      width: 24,
      height: 10,
      columns: [
        {
          title: "Streams exact",
          query: query(min(sum(value(M.streamTrust, trusted), EACH_REPLICA), ENGINE), "exact"),
        },
        {
          title: "Streams not exact",
          query: query(max(sum(value(M.streamTrust, untrusted), EACH_REPLICA), ENGINE), "not exact"),
          levels: { warning: 1, bad: "above" },
        },
        {
          title: "Streams live",
          query: query(
            min(sum(value(M.streamState, { ...PODS, state: "live" }), EACH_REPLICA), ENGINE),
            "live",
          ),
        },
        {
          title: "Last sequence number",
          query: query(max(value(M.streamLastSequenceNumber, PODS), ENGINE), "seq"),
        },
        { title: "Last event age", query: query(max(value(M.streamLastEventAge, PODS), ENGINE), "age") },
        {
          title: "Blocks held",
          query: query(min(sum(value(M.streamBlocks, PODS), EACH_REPLICA), ENGINE), "blocks"),
        },
        {
          title: "Events/s",
          query: query(max(sum(rate(M.eventsProcessed, RATE, PODS), EACH_REPLICA), ENGINE), "events"),
        },
        {
          title: "Gaps, 1 h",
          query: query(max(sum(countIncrease(M.sequenceGap, "1h", PODS), EACH_REPLICA), ENGINE), "gaps"),
          levels: { warning: 1, bad: "above" },
        },
        {
          title: "Replays failed, 1 h",
          query: query(
            max(sum(increase(M.replayRequests, "1h", { ...PODS, status: "failed" }), EACH_REPLICA), ENGINE),
            "failed",
          ),
          levels: { warning: 1, bad: "above" },
        },
        {
          title: "Dropped, 1 h",
          query: query(
            max(sum(increase(M.eventsDropped, "1h", { ...PODS, ...lossy }), EACH_REPLICA), ENGINE),
            "dropped",
          ),
          levels: { warning: 1, bad: "above" },
        },
      ],
      drillDown: { uid: "kvsync-engines", variable: "pod" },
    }),
    trust: stateTimeline({
      id: 2,
      title: "Trust",
      shows:
        "Per engine, how many of its streams are not exact, at the replica that trusts it least: their part of the index may miss or invent blocks.",
      normal: "Exact all the time but for starts and repairs.",
      width: 24,
      height: 8,
      queries: [
        query(max(sum(value(M.streamTrust, untrusted), ["instance", "pod"]), ["pod"]), (label) =>
          label("pod"),
        ),
      ],
      levels: { warning: 1, critical: 2, bad: "above" },
      states: [
        { value: 0, text: "exact", color: "green" },
        { value: 1, text: "1 stream not exact", color: "orange" },
        { value: 2, text: "2 streams not exact", color: "red" },
      ],
    }),
    states: timeseries({
      id: 3,
      title: "Streams by state",
      shows: "Streams in each state of the stream machine, by replica.",
      normal: "All live.",
      width: 12,
      height: 8,
      stacked: true,
      queries: [
        query(sum(value(M.streamState, PODS), ["instance", "state"]), (label) =>
          [label("instance"), label("state")].join(" "),
        ),
      ],
    }),
    connections: timeseries({
      id: 4,
      title: "Failed connection attempts",
      shows: "Failed attempts per second, by engine.",
      normal: "0.",
      width: 12,
      height: 8,
      queries: [
        query(sum(rate(M.connections, RATE, { ...PODS, status: "failed" }), ["pod"]), (label) =>
          label("pod"),
        ),
      ],
      levels: { warning: THRESHOLDS.connectionFailuresPerSecond, bad: "above" },
    }),
    lastEvent: timeseries({
      id: 5,
      title: "Last event age",
      shows: "Time since the last message of a stream was applied.",
      normal:
        "A saw-tooth that follows the load; a straight line up is silence, and a probe tells idle from dead.",
      width: 12,
      height: 8,
      queries: [
        query(
          max(value(M.streamLastEventAge, PODS), ["pod", "dp_rank"]),
          (label) => `${label("pod")} ${label("dp_rank")}`,
        ),
      ],
    }),
    position: timeseries({
      id: 6,
      title: "Last sequence number",
      shows: "The last message applied, by stream.",
      normal: "Rises with the load; falls only when an engine restarts.",
      width: 12,
      height: 8,
      queries: [
        query(
          max(value(M.streamLastSequenceNumber, PODS), ["pod", "dp_rank"]),
          (label) => `${label("pod")} ${label("dp_rank")}`,
        ),
      ],
    }),
    events: timeseries({
      id: 7,
      title: "Events by engine",
      shows: "Events applied per second, by engine.",
      normal: "Close together, as far as the router spreads load.",
      width: 8,
      height: 8,
      queries: [query(sum(rate(M.eventsProcessed, RATE, PODS), ["pod"]), (label) => label("pod"))],
    }),
    blocks: timeseries({
      id: 13,
      title: "Blocks held",
      shows: "Blocks that the index holds for each stream.",
      normal: "Rises to the engine's cache size, then stays level; a fall to 0 is a clear or a restart.",
      width: 8,
      height: 8,
      queries: [
        query(
          max(value(M.streamBlocks, PODS), ["pod", "dp_rank"]),
          (label) => `${label("pod")} ${label("dp_rank")}`,
        ),
      ],
    }),
    blocksChanged: timeseries({
      id: 8,
      title: "Caches cleared",
      shows: "AllBlocksCleared events per second, by engine: each empties the engine's part of the index.",
      normal: "0, but for weight updates and restarts.",
      width: 8,
      height: 8,
      queries: [
        query(
          sum(rate(M.eventsProcessed, RATE, { ...PODS, event_type: "AllBlocksCleared" }), ["pod"]),
          (label) => label("pod"),
        ),
      ],
    }),
    gaps: timeseries({
      id: 9,
      title: "Gaps",
      shows: "Gaps in the sequence per second, by engine.",
      normal: "0.",
      width: 6,
      height: 8,
      queries: [query(sum(countRate(M.sequenceGap, RATE, PODS), ["pod"]), (label) => label("pod"))],
    }),
    gapSize: timeseries({
      id: 10,
      title: "Gap size p95",
      shows: "Messages missed per gap that 95 % of gaps stay below, by engine.",
      normal: "No data.",
      width: 6,
      height: 8,
      queries: [
        query(quantile(0.95, summed(bucketRate(M.sequenceGap, RATE, PODS), ["pod"])), (label) =>
          label("pod"),
        ),
      ],
      levels: { warning: THRESHOLDS.sequenceGapMessages, bad: "above" },
    }),
    replays: timeseries({
      id: 11,
      title: "Failed replays",
      shows: "Replays per second that failed, by engine.",
      normal: "0.",
      width: 6,
      height: 8,
      queries: [
        query(sum(rate(M.replayRequests, RATE, { ...PODS, status: "failed" }), ["pod"]), (label) =>
          label("pod"),
        ),
      ],
    }),
    dropped: timeseries({
      id: 12,
      title: "Dropped events",
      shows: "Events per second that were not applied, by engine and reason.",
      normal: "0.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(rate(M.eventsDropped, RATE, PODS), ["pod", "reason"]),
          (label) => `${label("pod")} ${label("reason")}`,
        ),
      ],
      levels: { warning: THRESHOLDS.droppedEventsPerSecond, bad: "above" },
    }),
  },
});
