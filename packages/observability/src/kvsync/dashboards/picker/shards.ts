/** Row of the dashboard "KV endpoint picker": Shards. */

import { PICKER_METRICS } from "../../catalogue/picker.ts";
import { ratio, sum, summed } from "../../../promql/operators.ts";
import { bucketRate, rate } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { quantileQueries, query, row, timeseries } from "../../../dashboards/panel.ts";
import { HERE, RATE } from "../scope.ts";

const { shardLookups, shardDuration } = PICKER_METRICS;
const BY_SHARD = ["shard_index"] as const;

/** The row with its panels. */
export const SHARDS = row({
  id: 104,
  title: "Shards",
  panels: {
    shardFailures: timeseries({
      id: 105,
      title: "Picks without a shard",
      shows:
        "Share of the picks that had no usable answer of a shard, by shard. The panel is empty without shards.",
      normal: "0 %. For seconds 100 % while a shard without replicas restarts.",
      width: 8,
      height: 8,
      queries: [
        query(
          ratio(
            sum(rate(shardLookups, RATE, { ...HERE, outcome: { not: ["ok"] } }), BY_SHARD),
            sum(rate(shardLookups, RATE, HERE), BY_SHARD),
          ),
          (label) => label("shard_index"),
        ),
      ],
      levels: { warning: THRESHOLDS.shardMissingRatio, bad: "above" },
    }),
    shardOutcomes: timeseries({
      id: 106,
      title: "Why a shard is missing",
      counts: "requests",
      shows: "Requests to shards per second that had no usable answer, by reason.",
      normal: "0.",
      width: 8,
      height: 8,
      stacked: true,
      queries: [
        query(sum(rate(shardLookups, RATE, { ...HERE, outcome: { not: ["ok"] } }), ["outcome"]), (label) =>
          label("outcome"),
        ),
      ],
    }),
    shardTime: timeseries({
      id: 107,
      title: "Time of a shard's answer",
      shows: "From the question to a shard's answer, or until it was given up.",
      normal: "Below 50 ms; far below picker.shards.timeout_ms.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: quantileQueries(summed(bucketRate(shardDuration, RATE, HERE), []), [0.5, 0.99]),
    }),
  },
});
