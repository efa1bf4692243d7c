/** Which of kvsync's alerts silence which. */

import type { Inhibition } from "../../rules/inhibition.ts";
import type { KvsyncObjectives } from "./objective-shares.ts";
import { objectiveInhibitionsOf } from "./objectives.ts";
import type { Component } from "./teams.ts";

const REPLICA = ["cluster", "namespace", "job", "instance"] as const;

/** What a replica that is down cannot do. */
const OF_A_REPLICA: readonly Component[] = [
  "configuration",
  "ingest",
  "index",
  "routing",
  "picker",
  "http",
  "snapshot",
  "process",
];

/**
 * Every rule.
 *
 * @param objectives - settings of the objectives.
 */
export function inhibitionsOf(objectives: KvsyncObjectives): readonly Inhibition[] {
  return [...INHIBITIONS, ...objectiveInhibitionsOf(objectives)];
}

const INHIBITIONS: readonly Inhibition[] = [
  {
    because: "a replica that is down has every symptom there is",
    source: "SyncDaemonDown",
    targets: { components: OF_A_REPLICA },
    equal: REPLICA,
  },
  {
    because: "with sync off by its settings nothing is connected and nothing is found",
    source: "KVSyncConfigurationError",
    targets: {
      alerts: ["KVSyncNoActiveConnections", "LowThroughput", "LookupFallbacks", "PrefixCacheLowHitRate"],
    },
    equal: REPLICA,
  },
  {
    because: "a model without connections has streams below exact trust",
    source: "KVSyncNoActiveConnections",
    targets: {
      alerts: [
        "KVSyncConnectionFailure",
        "StreamUntrusted",
        "LowThroughput",
        "LookupFallbacks",
        "PrefixCacheLowHitRate",
      ],
    },
    equal: [...REPLICA, "model"],
  },
  {
    because: "lookups by prompt need the tokenizer",
    source: "TokenizerUnavailable",
    targets: { alerts: ["LookupFallbacks", "PickerDecisionsLate", "PickerBlind"] },
    equal: REPLICA,
  },
  {
    because: "a prediction for other tokens than the engine's is wrong",
    source: "PickerPromptsDiffer",
    targets: { alerts: ["PickerPredictionsDiffer"] },
    equal: [...REPLICA, "model"],
  },
  {
    because: "the same queue, further on",
    source: "CriticalQueueDepth",
    targets: { alerts: ["HighQueueDepth"] },
    equal: [...REPLICA, "lane"],
  },
  {
    because: "ingest that does not keep up is late with everything",
    source: "PersistentBackpressure",
    targets: { alerts: ["FrequentBackpressure", "HighEventLatency", "PropagationLag"] },
    equal: REPLICA,
  },
  {
    because: "the streams of a worker that stands still are on the others, or on none",
    source: "WorkerDown",
    targets: { alerts: ["WorkerUtilizationImbalance", "ExcessiveWorkStealing"] },
    equal: REPLICA,
  },
  {
    because: "where nothing can be written, nothing is new",
    source: "StorageUnhealthy",
    targets: { alerts: ["SnapshotStale"] },
    equal: REPLICA,
  },
];
