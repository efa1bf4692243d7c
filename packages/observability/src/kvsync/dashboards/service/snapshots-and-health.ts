/** Row of the dashboard "KV sync service and system": Snapshots and health. */

import { SERVICE_METRICS } from "../../catalogue/service.ts";
import { SNAPSHOT_METRICS } from "../../catalogue/snapshot.ts";
import { equals, max, quantile, sum, summed } from "../../../promql/operators.ts";
import { bucketRate, rate, value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, table, timeseries } from "../../../dashboards/panel.ts";
import { HERE, INSTANCE, RATE } from "../scope.ts";

/** The row with its panels. */
export const SNAPSHOTS_AND_HEALTH = row({
  id: 105,
  title: "Snapshots and health",
  folded: true,
  panels: {
    health: table({
      id: 40,
      title: "Health checks",
      shows: "The present status of each check, as /health gives it.",
      normal: "healthy everywhere.",
      width: 8,
      height: 8,
      columns: [
        {
          title: "Is",
          query: query(
            max(equals(value(SERVICE_METRICS.healthCheck, HERE), 1), ["instance", "check", "status"]),
            "check",
          ),
        },
      ],
    }),
    snapshotAge: timeseries({
      id: 41,
      title: "Snapshot age",
      shows:
        "Time since the index was last saved in a snapshot, or since the start of the daemon. The panel is empty when no snapshots are kept.",
      normal: "Below 5 minutes, as often as snapshots are written.",
      width: 8,
      height: 8,
      queries: [
        query(max(value(SNAPSHOT_METRICS.snapshotAge, HERE), INSTANCE), (label) => label("instance")),
      ],
      levels: { warning: THRESHOLDS.snapshotAgeSeconds, bad: "above" },
    }),
    snapshotSize: timeseries({
      id: 42,
      title: "Snapshot size",
      shows: "Bytes of the last snapshot. Two are kept while a third is written.",
      normal: "Follows the snapshot's entries.",
      width: 8,
      height: 8,
      queries: [
        query(max(value(SNAPSHOT_METRICS.snapshotSize, HERE), INSTANCE), (label) => label("instance")),
      ],
    }),
    snapshotEntries: timeseries({
      id: 43,
      title: "Snapshot entries",
      shows: "Holders of blocks in the last snapshot.",
      normal: "Follows the index.",
      width: 6,
      height: 8,
      queries: [
        query(max(value(SNAPSHOT_METRICS.snapshotEntries, HERE), INSTANCE), (label) => label("instance")),
      ],
    }),
    snapshotOperations: timeseries({
      id: 44,
      title: "Snapshot operations",
      shows: "Snapshots made, read and fetched per second, by outcome.",
      normal: "As often as snapshots are written; none failed.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(rate(SNAPSHOT_METRICS.snapshotOperations, RATE, HERE), ["operation", "status"]),
          (label) => `${label("operation")} ${label("status")}`,
        ),
      ],
    }),
    snapshotErrors: timeseries({
      id: 45,
      title: "Snapshot errors",
      shows: "Snapshot operations that failed per second.",
      normal: "0.",
      width: 6,
      height: 8,
      queries: [
        query(sum(rate(SNAPSHOT_METRICS.snapshotErrors, RATE, HERE), ["operation"]), (label) =>
          label("operation"),
        ),
      ],
    }),
    snapshotDuration: timeseries({
      id: 46,
      title: "Snapshot duration p95",
      shows: "Time that 95 % of the operations stay below.",
      normal: "Below 10 s, by the number of holders.",
      width: 6,
      height: 8,
      queries: [
        query(
          quantile(0.95, summed(bucketRate(SNAPSHOT_METRICS.snapshotDuration, RATE, HERE), ["operation"])),
          (label) => label("operation"),
        ),
      ],
    }),
  },
});
