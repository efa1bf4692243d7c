/**
 * The alerts that operators were promised, written a second time. Thresholds, patience, severities
 * and bucket bounds are a public interface that people plan by. Rules and their tests are made from
 * the same data, so a slip passes every other test. Names of families are in
 * promised-families.test.ts. Where the promise differs from the operators' contract, decision 13
 * has the reason.
 */
import { expect, test } from "vitest";

import { INGEST_METRICS } from "../catalogue/ingest.ts";
import { PREFIX_INDEX_METRICS } from "../catalogue/prefix-index.ts";
import { ROUTING_METRICS } from "../catalogue/routing.ts";
import { LIMIT_METRICS } from "../catalogue/limits.ts";
import { secondsOf } from "../../duration.ts";
import { ALERT_GROUPS } from "./alerts.ts";
import { RECORDING_GROUPS } from "./recordings.ts";
import { prometheusConfiguration, ruleFile } from "../../rules/prometheus.ts";
import { KVSYNC } from "../project.ts";

const ALERTS = new Map(ALERT_GROUPS.flatMap(({ alerts }) => alerts).map((alert) => [alert.name, alert]));

const PROMISED = [
  ["KVSyncConfigurationError", "== 0", "1m", "critical"],
  ["KVSyncConnectionFailure", "> 0.1", "2m", "warning"],
  ["KVSyncNoActiveConnections", "== 0", "5m", "critical"],
  ["KVEventDropRate", "> 10", "2m", "warning"],
  ["KVEventProcessingLatency", "> 0.01", "5m", "warning"],
  ["KVEventSequenceGaps", "> 10", "2m", "warning"],
  ["SyncIndexerNearCapacity", "> 0.9", "5m", "warning"],
  ["SyncIndexerEvictionRate", "> 1", "5m", "warning"],
  ["PrefixCacheLowHitRate", "< 0.3", "10m", "info"],
  ["LookupFallbacks", "> 0.1", "5m", "warning"],
  ["HighQueueDepth", "> 0.8", "2m", "warning"],
  ["CriticalQueueDepth", "> 0.9", "1m", "critical"],
  ["WorkerDown", "> 10", "1m", "critical"],
  ["WorkerUtilizationImbalance", "> 0.4", "5m", "warning"],
  ["HighEventLatency", "> 0.1", "5m", "warning"],
  ["HighLookupLatency", "> 0.05", "5m", "warning"],
  ["FrequentBackpressure", "> 100", "5m", "warning"],
  ["PersistentBackpressure", "> 0", "10m", "critical"],
  ["HighRejectionRate", "> 0.01", "5m", "warning"],
  ["BatchApplyFailures", "> 0", "2m", "critical"],
  ["LowThroughput", "< 0.01", "10m", "info"],
  ["ExcessiveWorkStealing", "> 0.1", "10m", "info"],
  ["StreamUntrusted", "> 0", "2m", "warning"],
  ["SyncDaemonDown", "== 0", "30s", "critical"],
  ["SyncDaemonAbsent", "== 1", "5m", "critical"],
  ["HighMemoryUsage", "> 0.8", "2m", "warning"],
  ["HighErrorRate", "> 0.05", "2m", "critical"],
  ["HighResponseTime", "> 1", "5m", "warning"],
  ["StorageUnhealthy", "== 1", "30s", "critical"],
  ["HighEventLoopLag", `> ${LIMIT_METRICS.eventLoopLagLimit.name}`, "2m", "warning"],
  ["PropagationLag", "> 1", "5m", "warning"],
  ["HighCPUUsage", "> 0.8", "10m", "warning"],
  ["DiskSpaceLow", "< 0.1", "5m", "warning"],
  ["VolumeSpaceLow", "< 0.1", "5m", "warning"],
  ["PodDown", "> 0", "2m", "critical"],
  ["PodRestartingTooOften", "> 0.1", "5m", "warning"],
  ["DeploymentReplicaMismatch", "> 0", "10m", "warning"],
  ["StatefulSetReplicaMismatch", "> 0", "10m", "warning"],
  ["HPAMaxedOut", "== 0", "15m", "warning"],
  ["NotificationDeliveryFailures", "> 0.1", "5m", "warning"],
  ["DiscoveryStale", "== 1", "5m", "warning"],
  ["DiscoverySilent", "> 600", "2m", "warning"],
  ["ConfigReloadFailed", "== 1", "1m", "warning"],
  ["EnginesRefused", "> 0", "10m", "warning"],
  ["TokenizerUnavailable", "> 0.1", "2m", "warning"],
  ["TokenizerTemplateDiffers", "> 0", "1m", "warning"],
  ["PickerNotReady", "== 0", "2m", "critical"],
  ["PickerDecisionsLate", "> 0.01", "5m", "warning"],
  ["PickerBlind", "> 0.5", "5m", "warning"],
  ["PickerPromptsDiffer", "> 0.2", "5m", "warning"],
  ["PickerPredictionsDiffer", "> 0.25", "10m", "warning"],
  ["PickerServedElsewhere", "> 0.05", "5m", "warning"],
  ["PickerScrapesStale", "> 10", "5m", "warning"],
  ["PickerShardMissing", "> 0.05", "5m", "warning"],
  ["SnapshotStale", "> 600", "5m", "warning"],
  ["CallersRefused", "> 0.5", "10m", "warning"],
  ["SecurityFileRefused", "== 0", "2m", "warning"],
  ["TlsCertificateExpiring", "< 1209600", "10m", "warning"],
  ["AvailabilityBudgetBurn1h", "> 0.0144", "2m", "critical"],
  ["AvailabilityBudgetBurn6h", "> 0.006", "15m", "critical"],
  ["AvailabilityBudgetBurn1d", "> 0.003", "1h", "warning"],
  ["AvailabilityBudgetBurn3d", "> 0.001", "3h", "warning"],
  ["LatencyBudgetBurn1h", "> 0.144", "2m", "critical"],
  ["LatencyBudgetBurn6h", "> 0.06", "15m", "critical"],
  ["LatencyBudgetBurn1d", "> 0.03", "1h", "warning"],
  ["LatencyBudgetBurn3d", "> 0.01", "3h", "warning"],
] as const;

test.each(PROMISED)("%s fires at %s after %s as %s", (name, condition, patience, severity) => {
  const alert = ALERTS.get(name);
  expect([`${alert?.comparator ?? ""} ${alert?.threshold ?? ""}`, alert?.for, alert?.severity]).toEqual([
    condition,
    patience,
    severity,
  ]);
});

test.each([
  ["KVSyncConnectionFailure", "{{ $labels.pod }}"],
  ["KVEventSequenceGaps", "{{ $labels.pod }}"],
  ["KVSyncConfigurationError", "AIBRIX_USE_REMOTE_TOKENIZER=true"],
])("the text of %s names %s", (name, text) => {
  expect(ALERTS.get(name)?.description).toContain(text);
});

test("every alert and recording keeps cluster and namespace, by which it is grouped and routed", () => {
  const platform = ["SyncDaemonAbsent", "DiskSpaceLow"];
  const labels = [
    ...[...ALERTS.values()].filter(({ name }) => !platform.includes(name)),
    ...RECORDING_GROUPS.flatMap(({ rules }) => rules),
  ].map((rule) => [rule.name, rule.labels.includes("cluster"), rule.labels.includes("namespace")]);
  expect(labels.length).toBeGreaterThan(70);
  expect(labels.filter(([, cluster, namespace]) => cluster !== true || namespace !== true)).toEqual([]);
  expect(ALERTS.get("DiskSpaceLow")?.labels).toContain("cluster");
});

test("every alert has a line in PROMISED, and every line an alert", () => {
  const promised = PROMISED.map(([name]): string => name);
  expect([...ALERTS.keys()].filter((name) => !promised.includes(name))).toEqual([]);
  expect(promised.filter((name) => !ALERTS.has(name))).toEqual([]);
  expect(new Set(promised).size).toBe(promised.length);
});

test.each([
  { family: INGEST_METRICS.eventProcessingDuration, first: 0.0001 },
  { family: INGEST_METRICS.sequenceGap, first: 1 },
  { family: PREFIX_INDEX_METRICS.indexerOperationDuration, first: 0.00001 },
  { family: ROUTING_METRICS.routingLatency, first: 0.00001 },
])("the bounds of $family.name double from $first, ten of them", ({ family: { buckets }, first }) => {
  expect(buckets).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512].map((factor) => first * factor));
});

test("matches are counted in steps of ten per cent", () => {
  expect(PREFIX_INDEX_METRICS.indexerMatchPercentage.buckets).toEqual([
    0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100,
  ]);
});

test("a critical condition is evaluated, and what it reads is scraped, well within a minute", () => {
  const intervals = [
    ...[...prometheusConfiguration(KVSYNC).matchAll(/(?:scrape|evaluation)_interval: (\S+)/g)],
    ...[...ruleFile(KVSYNC).matchAll(/name: (?!kvsync-objective)\S+\n {4}interval: (\S+)/g)],
  ].map(([, interval = ""]) => secondsOf(interval));
  expect(intervals.length).toBeGreaterThan(5);
  expect(Math.max(...intervals)).toBeLessThanOrEqual(15);
});
