/** Row of the dashboard "KV event sync overview": Is it working. */

import { INGEST_METRICS } from "../../catalogue/ingest.ts";
import { PREFIX_INDEX_METRICS } from "../../catalogue/prefix-index.ts";
import { max, meanShare, min, orZero, sum } from "../../../promql/operators.ts";
import { value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, stat, stateTimeline } from "../../../dashboards/panel.ts";
import { HERE, MODELS, PODS, RATE, REPLICAS } from "../scope.ts";

const untrusted = { trust: ["partial", "stale", "unknown"] } as const;

/** The row with its panels. */
export const SYNC_STATUS = row({
  id: 100,
  title: "Is it working?",
  panels: {
    configuration: stat({
      id: 1,
      title: "Configuration",
      shows: "Whether sync, when it was asked for, has all the settings that it needs.",
      normal: "Valid.",
      width: 4,
      height: 4,
      queries: [query(min(value(INGEST_METRICS.configurationValid, HERE), []), "configuration")],
      levels: { critical: 1, warning: 1, bad: "below" },
      states: [
        { value: 0, text: "invalid", color: "red" },
        { value: 1, text: "valid", color: "green" },
      ],
    }),
    connected: stat({
      id: 2,
      title: "Connected engines",
      shows: "Open connections to engine event sockets, all models together, at the replica with the fewest.",
      normal: "As many as there are engine streams (DP ranks) in the fleet.",
      width: 4,
      height: 4,
      queries: [
        query(
          min(
            orZero(sum(value(INGEST_METRICS.connectionsActive, MODELS), ["job", "instance"]), REPLICAS),
            [],
          ),
          "connections",
        ),
      ],
    }),
    untrusted: stat({
      id: 3,
      title: "Streams not exact",
      shows:
        "Engine streams whose part of the index may miss or invent blocks, at the replica with the most.",
      normal: "0; for seconds more while a gap is repaired or an engine starts.",
      width: 4,
      height: 4,
      queries: [
        query(
          max(sum(value(INGEST_METRICS.streamTrust, { ...PODS, ...untrusted }), ["instance"]), []),
          "streams",
        ),
      ],
      levels: { warning: 1, bad: "above" },
    }),
    hitRateNow: stat({
      id: 4,
      title: "Hit rate",
      shows:
        "Share of a prompt's blocks that the best worker holds, averaged over the lookups of the chosen models.",
      normal: "Depends on the workload; conversations reach 0.3 to 0.6.",
      width: 4,
      height: 4,
      queries: [query(meanShare(PREFIX_INDEX_METRICS.indexerMatchPercentage, RATE, MODELS, []), "hit rate")],
      levels: { warning: THRESHOLDS.hitRate, bad: "below" },
    }),
    syncStatus: stateTimeline({
      id: 5,
      title: "Sync status by model",
      shows: "Whether at least one engine of the model is connected.",
      normal: "Active all the time.",
      width: 8,
      height: 4,
      queries: [
        query(max(value(PREFIX_INDEX_METRICS.syncStatus, MODELS), ["model"]), (label) => label("model")),
      ],
      states: [
        { value: 0, text: "inactive", color: "red" },
        { value: 1, text: "active", color: "green" },
      ],
    }),
  },
});
