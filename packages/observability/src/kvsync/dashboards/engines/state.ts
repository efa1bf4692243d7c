/** Row of the dashboard "KV engines": State. */

import { LINES_MAX } from "../scope.ts";
import { INGEST_METRICS } from "../../catalogue/ingest.ts";
import { above, max, sum, sumOnce, where } from "../../../promql/operators.ts";
import { peak, rate, value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, stateTimeline, timeseries } from "../../../dashboards/panel.ts";
import { ENGINE, MODELS, PODS, RATE } from "../scope.ts";

const untrusted = { ...PODS, trust: ["partial", "stale", "unknown"] } as const;

/** The row with its panels. */
export const STATE = row({
  id: 101,
  title: "State",
  panels: {
    trust: stateTimeline({
      id: 2,
      title: "Trust",
      shows:
        "Streams that are not exact of each engine, at the replica with the most. Their part of the index may miss blocks or list blocks that are gone. Engines that were exact all the time of the zoom are left out.",
      normal: "Empty, except for engines that start or are repaired.",
      most: LINES_MAX,
      width: 24,
      height: 8,
      queries: [
        query(
          where(
            max(sum(value(INGEST_METRICS.streamTrust, untrusted), ["instance", "pod"]), ["pod"]),
            above(max(peak(INGEST_METRICS.streamTrust, "$__range", untrusted), ["pod"]), 0),
            ["pod"],
          ),
          (label) => label("pod"),
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
      width: 24,
      height: 8,
      stacked: true,
      queries: [
        query(sum(value(INGEST_METRICS.streamState, PODS), ["instance", "state"]), (label) =>
          [label("instance"), label("state")].join(" "),
        ),
      ],
    }),
    reasons: timeseries({
      id: 31,
      title: "Streams that are not exact, by reason",
      most: LINES_MAX,
      shows: "Streams whose trust is below exact, by trust and reason, at the replica with the most.",
      normal: "Empty, except during starts and repairs.",
      width: 24,
      height: 8,
      stacked: true,
      queries: [
        query(
          max(sum(value(INGEST_METRICS.streamTrustReason, MODELS), ["instance", "trust", "reason"]), [
            "trust",
            "reason",
          ]),
          (label) => [label("trust"), label("reason")].join(" "),
        ),
      ],
    }),
    unknownFields: timeseries({
      id: 32,
      most: LINES_MAX,
      title: "Unknown fields",
      shows: "Fields per second that this version does not know, by engine and by where they stood.",
      normal: "0. A newer engine than this version was made for is the usual cause.",
      width: 24,
      height: 8,
      queries: [
        query(
          sumOnce(rate(INGEST_METRICS.unknownFields, RATE, PODS), [...ENGINE, "owner"], ["pod", "owner"]),
          (label) => [label("pod"), label("owner")].join(" "),
        ),
      ],
      // One field within a look-back is more.
      levels: { warning: 0.001, bad: "above" },
    }),
    connections: timeseries({
      id: 4,
      most: LINES_MAX,
      title: "Failed connection attempts",
      shows: "Failed attempts per second, by engine.",
      normal: "0.",
      width: 24,
      height: 8,
      queries: [
        query(
          sumOnce(rate(INGEST_METRICS.connections, RATE, { ...PODS, status: "failed" }), ENGINE, ["pod"]),
          (label) => label("pod"),
        ),
      ],
      levels: { warning: THRESHOLDS.connectionFailuresPerSecond, bad: "above" },
    }),
  },
});
