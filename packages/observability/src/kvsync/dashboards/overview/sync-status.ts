/** Row of the dashboard "KV event sync overview": Is it working? What a person on call looks at first. */

import { INGEST_METRICS } from "../../catalogue/ingest.ts";
import { ROUTING_METRICS } from "../../catalogue/routing.ts";
import { STREAM_METRICS } from "../../catalogue/stream.ts";
import { PROMETHEUS_METRICS } from "../../../exporters.ts";
import { count, max, min, orZero, ratio, sum, sumOnce } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { rate, value } from "../../../promql/series.ts";
import { RECORDINGS } from "../../rules/recordings.ts";
import { COMPONENTS } from "../../rules/teams.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { firingCount, firingList } from "../../../dashboards/firing-alerts.ts";
import { query, row, stat } from "../../../dashboards/panel.ts";
import { ENGINE, HERE, MODELS, PODS, RATE } from "../scope.ts";

const EACH_REPLICA = ["job", "instance"] as const;
/** Eight in a line of the grid. */
const TILE = { width: 3, height: 4 } as const;

const lookups = sum(rate(ROUTING_METRICS.lookups, RATE, MODELS), []);
const exactLookups = sum(rate(ROUTING_METRICS.lookups, RATE, { ...MODELS, decision: "exact" }), []);
const streams = sum(value(INGEST_METRICS.streamTrust, PODS), EACH_REPLICA);
const exactStreams = sum(value(INGEST_METRICS.streamTrust, { ...PODS, trust: "exact" }), EACH_REPLICA);

/** The row with its panels. */
export const SYNC_STATUS = row({
  id: 100,
  title: "Is it working?",
  panels: {
    firing: firingCount(COMPONENTS, { id: 30, ...TILE }),
    replicasUp: stat({
      id: 31,
      title: "Replicas up",
      shows: "Share of the replicas that Prometheus could scrape.",
      normal: "100 %.",
      ...TILE,
      queries: [
        query(
          ratio(sum(value(PROMETHEUS_METRICS.up, HERE), []), count(value(PROMETHEUS_METRICS.up, HERE), [])),
          "up",
        ),
      ],
      levels: { warning: 1, critical: 0.5, bad: "below" },
    }),
    exactShare: stat({
      id: 32,
      title: "Streams exact",
      shows:
        "Share of the engine streams whose part of the index has every block and no other, at the worst replica.",
      normal: "100 %; less for seconds while a gap is repaired or an engine starts.",
      ...TILE,
      queries: [query(min(ratio(orZero(exactStreams, streams), streams), []), "exact")],
      levels: { warning: 0.99, critical: 0.9, bad: "below" },
    }),
    lookupRate: stat({
      id: 33,
      title: "Lookups per second",
      counts: "requests",
      shows: "Lookups answered per second, by all replicas together.",
      normal: "Follows the gateways' traffic.",
      ...TILE,
      queries: [query(lookups, "lookups/s")],
    }),
    answersExact: stat({
      id: 34,
      title: "Answers exact",
      shows: "Share of the lookups with the decision exact, over all replicas.",
      normal: "Above 95 %; degraded and fallback answers for moments after starts.",
      ...TILE,
      queries: [query(ratio(orZero(exactLookups, lookups), lookups), "exact")],
      levels: { warning: 0.95, critical: 1 - THRESHOLDS.fallbackRatio, bad: "below" },
    }),
    lookupP99: stat({
      id: 35,
      title: "Lookup p99",
      shows: "Time that 99 % of lookups stay below over five minutes, of the slowest model and replica.",
      normal: "Below 1 ms.",
      ...TILE,
      queries: [query(max(recorded(RECORDINGS.lookupLatencyP99, MODELS), []), "p99")],
      levels: { warning: THRESHOLDS.lookupLatencySeconds, bad: "above" },
    }),
    eventsApplied: stat({
      id: 36,
      title: "Events applied per second",
      shows: "Events applied to the index per second, each engine once however many replicas follow it.",
      normal: "Follows the load of the engines.",
      ...TILE,
      queries: [query(sumOnce(rate(INGEST_METRICS.eventsProcessed, RATE, PODS), ENGINE, []), "events/s")],
    }),
    backpressure: stat({
      id: 37,
      title: "Back-pressure",
      shows: "The level that the ingest queue is in, at the replica with the most back-pressure.",
      normal: "Normal.",
      ...TILE,
      queries: [query(max(value(STREAM_METRICS.streamBackpressureState, HERE), []), "level")],
      levels: { warning: 1, critical: 2, bad: "above" },
      states: [
        { value: 0, text: "normal", color: "green" },
        { value: 1, text: "warning", color: "yellow" },
        { value: 2, text: "critical", color: "orange" },
        { value: 3, text: "overloaded", color: "red" },
      ],
    }),
    alerts: firingList(COMPONENTS, { id: 38, width: 24, height: 6 }),
  },
});
