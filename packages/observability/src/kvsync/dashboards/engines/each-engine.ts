/** Row of the dashboard "KV engines": Each engine. */

import { INGEST_METRICS } from "../../catalogue/ingest.ts";
import { leastOf, max, sum } from "../../../promql/operators.ts";
import { countIncrease, increase, rate, value } from "../../../promql/series.ts";
import { HARMLESS_DROP_REASONS } from "../../rules/drop-reasons.ts";
import { query, row, table } from "../../../dashboards/panel.ts";
import { ENGINE, PODS, RATE, REPLICAS } from "../scope.ts";

/** Every replica follows every engine: a sum over replicas would count each stream as often as there are replicas. */
const EACH_REPLICA = ["job", "instance", ...ENGINE] as const;
const trusted = { ...PODS, trust: "exact" } as const;
const lossy = { reason: { not: HARMLESS_DROP_REASONS } } as const;
const untrusted = { ...PODS, trust: ["partial", "stale", "unknown"] } as const;

/** The row with its panels. */
export const EACH_ENGINE = row({
  id: 100,
  title: "Each engine",
  panels: {
    engines: table({
      id: 1,
      title: "Engines",
      shows:
        "One row per engine. Streams are its DP ranks; the last event's age is that of its quietest stream. With several replicas, each figure is the worst one's. Drops that lose nothing are left out.",
      normal:
        "Ages and blocks are close to each other. Every stream is exact; no gaps, no failed replays, no drops.",
      width: 24,
      height: 10,
      columns: [
        {
          title: "Streams exact",
          query: query(
            leastOf(sum(value(INGEST_METRICS.streamTrust, trusted), EACH_REPLICA), REPLICAS, ENGINE),
            "exact",
          ),
        },
        {
          title: "Streams not exact",
          query: query(
            max(sum(value(INGEST_METRICS.streamTrust, untrusted), EACH_REPLICA), ENGINE),
            "not exact",
          ),
          levels: { warning: 1, bad: "above" },
        },
        {
          title: "Streams live",
          query: query(
            leastOf(
              sum(value(INGEST_METRICS.streamState, { ...PODS, state: "live" }), EACH_REPLICA),
              REPLICAS,
              ENGINE,
            ),
            "live",
          ),
        },
        {
          title: "Last sequence number",
          query: query(max(value(INGEST_METRICS.streamLastSequenceNumber, PODS), ENGINE), "seq"),
        },
        {
          title: "Last event age",
          query: query(max(value(INGEST_METRICS.streamLastEventAge, PODS), ENGINE), "age"),
        },
        {
          title: "Blocks held",
          bar: true,
          query: query(
            leastOf(sum(value(INGEST_METRICS.streamBlocks, PODS), EACH_REPLICA), REPLICAS, ENGINE),
            "blocks",
          ),
        },
        {
          title: "Events/s",
          query: query(
            max(sum(rate(INGEST_METRICS.eventsProcessed, RATE, PODS), EACH_REPLICA), ENGINE),
            "events",
          ),
        },
        {
          title: "Gaps, 1 h",
          query: query(
            max(sum(countIncrease(INGEST_METRICS.sequenceGap, "1h", PODS), EACH_REPLICA), ENGINE),
            "gaps",
          ),
          levels: { warning: 1, bad: "above" },
        },
        {
          title: "Replays failed, 1 h",
          query: query(
            max(
              sum(increase(INGEST_METRICS.replayRequests, "1h", { ...PODS, status: "failed" }), EACH_REPLICA),
              ENGINE,
            ),
            "failed",
          ),
          levels: { warning: 1, bad: "above" },
        },
        {
          title: "Dropped, 1 h",
          query: query(
            max(
              sum(increase(INGEST_METRICS.eventsDropped, "1h", { ...PODS, ...lossy }), EACH_REPLICA),
              ENGINE,
            ),
            "dropped",
          ),
          levels: { warning: 1, bad: "above" },
        },
      ],
      order: { column: "Streams not exact", first: "largest" },
    }),
  },
});
