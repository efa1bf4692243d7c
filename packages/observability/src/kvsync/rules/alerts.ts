/**
 * All alerts, in groups as Prometheus evaluates them. Each alert has a file named as its runbook, in the
 * folder of its group.
 */

import type { AlertGroup } from "../../rules/alert.ts";
import { CONFIG_RELOAD_FAILED } from "./alerts/discovery/config-reload-failed.ts";
import { DISCOVERY_SILENT } from "./alerts/discovery/discovery-silent.ts";
import { DISCOVERY_STALE } from "./alerts/discovery/discovery-stale.ts";
import { ENGINES_REFUSED } from "./alerts/discovery/engines-refused.ts";
import { HIGH_LOOKUP_LATENCY } from "./alerts/index/high-lookup-latency.ts";
import { LOOKUP_FALLBACKS } from "./alerts/index/lookup-fallbacks.ts";
import { PREFIX_CACHE_LOW_HIT_RATE } from "./alerts/index/prefix-cache-low-hit-rate.ts";
import { SYNC_INDEXER_EVICTION_RATE } from "./alerts/index/sync-indexer-eviction-rate.ts";
import { SYNC_INDEXER_NEAR_CAPACITY } from "./alerts/index/sync-indexer-near-capacity.ts";
import { BATCH_APPLY_FAILURES } from "./alerts/ingest/batch-apply-failures.ts";
import { CRITICAL_QUEUE_DEPTH } from "./alerts/ingest/critical-queue-depth.ts";
import { EXCESSIVE_WORK_STEALING } from "./alerts/ingest/excessive-work-stealing.ts";
import { FREQUENT_BACKPRESSURE } from "./alerts/ingest/frequent-backpressure.ts";
import { HIGH_EVENT_LATENCY } from "./alerts/ingest/high-event-latency.ts";
import { HIGH_QUEUE_DEPTH } from "./alerts/ingest/high-queue-depth.ts";
import { HIGH_REJECTION_RATE } from "./alerts/ingest/high-rejection-rate.ts";
import { KV_EVENT_DROP_RATE } from "./alerts/ingest/kv-event-drop-rate.ts";
import { KV_EVENT_PROCESSING_LATENCY } from "./alerts/ingest/kv-event-processing-latency.ts";
import { KV_EVENT_SEQUENCE_GAPS } from "./alerts/ingest/kv-event-sequence-gaps.ts";
import { KV_SYNC_CONFIGURATION_ERROR } from "./alerts/ingest/kv-sync-configuration-error.ts";
import { KV_SYNC_CONNECTION_FAILURE } from "./alerts/ingest/kv-sync-connection-failure.ts";
import { KV_SYNC_NO_ACTIVE_CONNECTIONS } from "./alerts/ingest/kv-sync-no-active-connections.ts";
import { LOW_THROUGHPUT } from "./alerts/ingest/low-throughput.ts";
import { PERSISTENT_BACKPRESSURE } from "./alerts/ingest/persistent-backpressure.ts";
import { PROPAGATION_LAG } from "./alerts/ingest/propagation-lag.ts";
import { STREAM_UNTRUSTED } from "./alerts/ingest/stream-untrusted.ts";
import { WORKER_DOWN } from "./alerts/ingest/worker-down.ts";
import { WORKER_UTILIZATION_IMBALANCE } from "./alerts/ingest/worker-utilization-imbalance.ts";
import { PICKER_BLIND } from "./alerts/picker/picker-blind.ts";
import { PICKER_DECISIONS_LATE } from "./alerts/picker/picker-decisions-late.ts";
import { PICKER_NOT_READY } from "./alerts/picker/picker-not-ready.ts";
import { PICKER_PREDICTIONS_DIFFER } from "./alerts/picker/picker-predictions-differ.ts";
import { PICKER_PROMPTS_DIFFER } from "./alerts/picker/picker-prompts-differ.ts";
import { PICKER_SCRAPES_STALE } from "./alerts/picker/picker-scrapes-stale.ts";
import { PICKER_SHARD_MISSING } from "./alerts/picker/picker-shard-missing.ts";
import { PICKER_SERVED_ELSEWHERE } from "./alerts/picker/picker-served-elsewhere.ts";
import { DEPLOYMENT_REPLICA_MISMATCH } from "./alerts/platform/deployment-replica-mismatch.ts";
import { DISK_SPACE_LOW } from "./alerts/platform/disk-space-low.ts";
import { HIGH_CPU_USAGE } from "./alerts/platform/high-cpu-usage.ts";
import { HPA_MAXED_OUT } from "./alerts/platform/hpa-maxed-out.ts";
import { NOTIFICATION_DELIVERY_FAILURES } from "./alerts/platform/notification-delivery-failures.ts";
import { POD_DOWN } from "./alerts/platform/pod-down.ts";
import { POD_RESTARTING_TOO_OFTEN } from "./alerts/platform/pod-restarting-too-often.ts";
import { STATEFUL_SET_REPLICA_MISMATCH } from "./alerts/platform/stateful-set-replica-mismatch.ts";
import { SYNC_DAEMON_ABSENT } from "./alerts/platform/sync-daemon-absent.ts";
import { VOLUME_SPACE_LOW } from "./alerts/platform/volume-space-low.ts";
import { CALLERS_REFUSED } from "./alerts/security/callers-refused.ts";
import { SECURITY_FILE_REFUSED } from "./alerts/security/security-file-refused.ts";
import { TLS_CERTIFICATE_EXPIRING } from "./alerts/security/tls-certificate-expiring.ts";
import { HIGH_ERROR_RATE } from "./alerts/service/high-error-rate.ts";
import { HIGH_EVENT_LOOP_LAG } from "./alerts/service/high-event-loop-lag.ts";
import { HIGH_MEMORY_USAGE } from "./alerts/service/high-memory-usage.ts";
import { HIGH_RESPONSE_TIME } from "./alerts/service/high-response-time.ts";
import { SNAPSHOT_STALE } from "./alerts/service/snapshot-stale.ts";
import { STORAGE_UNHEALTHY } from "./alerts/service/storage-unhealthy.ts";
import { SYNC_DAEMON_DOWN } from "./alerts/service/sync-daemon-down.ts";
import { TOKENIZER_TEMPLATE_DIFFERS } from "./alerts/service/tokenizer-template-differs.ts";
import { TOKENIZER_UNAVAILABLE } from "./alerts/service/tokenizer-unavailable.ts";
import type { KvsyncObjectives } from "./objective-shares.ts";
import { objectiveAlertsOf } from "./objectives.ts";
import type { Component } from "./teams.ts";
import { OBJECTIVES } from "./thresholds.ts";

/**
 * Every alert there is.
 *
 * @param objectives - settings of the objectives.
 */
export function alertGroupsOf(objectives: KvsyncObjectives): readonly AlertGroup<Component>[] {
  return GROUPS.map((group) =>
    group.name === OBJECTIVE_GROUP ? { ...group, alerts: objectiveAlertsOf(objectives) } : group,
  );
}

const OBJECTIVE_GROUP = "kvsync-objectives";

/** In the order of the rule file. */
const GROUPS: readonly AlertGroup<Component>[] = [
  {
    name: "kvsync-discovery",
    alerts: [DISCOVERY_STALE, DISCOVERY_SILENT, CONFIG_RELOAD_FAILED, ENGINES_REFUSED],
  },
  {
    name: "kvsync-ingest",
    alerts: [
      KV_SYNC_CONFIGURATION_ERROR,
      KV_SYNC_CONNECTION_FAILURE,
      KV_SYNC_NO_ACTIVE_CONNECTIONS,
      KV_EVENT_DROP_RATE,
      KV_EVENT_PROCESSING_LATENCY,
      KV_EVENT_SEQUENCE_GAPS,
      STREAM_UNTRUSTED,
      HIGH_QUEUE_DEPTH,
      CRITICAL_QUEUE_DEPTH,
      WORKER_DOWN,
      WORKER_UTILIZATION_IMBALANCE,
      EXCESSIVE_WORK_STEALING,
      HIGH_EVENT_LATENCY,
      PROPAGATION_LAG,
      FREQUENT_BACKPRESSURE,
      PERSISTENT_BACKPRESSURE,
      HIGH_REJECTION_RATE,
      BATCH_APPLY_FAILURES,
      LOW_THROUGHPUT,
    ],
  },
  {
    name: "kvsync-index",
    alerts: [
      SYNC_INDEXER_NEAR_CAPACITY,
      SYNC_INDEXER_EVICTION_RATE,
      PREFIX_CACHE_LOW_HIT_RATE,
      LOOKUP_FALLBACKS,
      HIGH_LOOKUP_LATENCY,
    ],
  },
  {
    name: "kvsync-service",
    alerts: [
      SYNC_DAEMON_DOWN,
      HIGH_MEMORY_USAGE,
      HIGH_ERROR_RATE,
      HIGH_RESPONSE_TIME,
      TOKENIZER_UNAVAILABLE,
      TOKENIZER_TEMPLATE_DIFFERS,
      HIGH_EVENT_LOOP_LAG,
      STORAGE_UNHEALTHY,
      SNAPSHOT_STALE,
    ],
  },
  {
    name: "kvsync-picker",
    alerts: [
      PICKER_NOT_READY,
      PICKER_DECISIONS_LATE,
      PICKER_BLIND,
      PICKER_PROMPTS_DIFFER,
      PICKER_PREDICTIONS_DIFFER,
      PICKER_SERVED_ELSEWHERE,
      PICKER_SCRAPES_STALE,
      PICKER_SHARD_MISSING,
    ],
  },
  { name: "kvsync-security", alerts: [CALLERS_REFUSED, SECURITY_FILE_REFUSED, TLS_CERTIFICATE_EXPIRING] },
  { name: OBJECTIVE_GROUP, alerts: [] },
  {
    name: "kvsync-platform",
    alerts: [
      SYNC_DAEMON_ABSENT,
      HIGH_CPU_USAGE,
      DISK_SPACE_LOW,
      VOLUME_SPACE_LOW,
      POD_DOWN,
      POD_RESTARTING_TOO_OFTEN,
      DEPLOYMENT_REPLICA_MISMATCH,
      STATEFUL_SET_REPLICA_MISMATCH,
      HPA_MAXED_OUT,
      NOTIFICATION_DELIVERY_FAILURES,
    ],
  },
];

/** With kvsync's own objectives. */
export const ALERT_GROUPS: readonly AlertGroup<Component>[] = alertGroupsOf(OBJECTIVES);
