/**
 * Recording rules: values that dashboards and alerts both read are computed once. All keep `job`
 * and `instance`, so that replicas stay separate. The objectives keep `job` alone, since they are
 * promises of the service.
 */

import { INGEST_METRICS } from "../catalogue/ingest.ts";
import { LIMIT_METRICS } from "../catalogue/limits.ts";
import { PROCESS_METRICS } from "../../exporters.ts";
import { ROUTING_METRICS } from "../catalogue/routing.ts";
import { SERVICE_METRICS } from "../catalogue/service.ts";
import { STREAM_METRICS } from "../catalogue/stream.ts";
import { NAMESPACE } from "../namespace.ts";
import { avg, max, orZero, quantile, quantileName, ratio, sum, summed } from "../../promql/operators.ts";
import { recording, type RecordingGroup } from "../../promql/recording.ts";
import { bucketRate, rate, value } from "../../promql/series.ts";
import { type KvsyncObjectives, sharesOf } from "./objective-shares.ts";
import { DAEMON_JOB, OBJECTIVES } from "./thresholds.ts";

const INSTANCE = ["cluster", "namespace", "job", "instance"] as const;
const BY_MODEL = ["cluster", "namespace", "job", "instance", "model"] as const;
const BY_ROUTE = ["cluster", "namespace", "job", "instance", "route"] as const;

/** Metrics of every process have these names. */
const OF_DAEMON = { job: DAEMON_JOB } as const;

const failed = { status: { pattern: "5.." } } as const;
const requests = sum(rate(SERVICE_METRICS.httpRequests, "5m"), INSTANCE);
const dropped = sum(rate(INGEST_METRICS.eventsDropped, "5m"), BY_MODEL);
const received = sum(rate(INGEST_METRICS.eventsReceived, "5m"), BY_MODEL);

function requestQuantile(q: number) {
  return recording({
    metric: SERVICE_METRICS.httpRequestDuration.name,
    operations: `${quantileName(q)}_rate5m`,
    help: `Time below which ${q * 100} % of requests are answered, by route.`,
    expression: quantile(q, summed(bucketRate(SERVICE_METRICS.httpRequestDuration, "5m"), BY_ROUTE)),
  });
}

/** Recording rules of contract section 3. */
export const RECORDINGS = {
  eventRate: recording({
    metric: `${NAMESPACE}_kv_stream_events`,
    operations: "rate5m",
    help: "Messages applied per second, by model.",
    expression: sum(rate(STREAM_METRICS.streamEvents, "5m"), BY_MODEL),
  }),
  queueUtilization: recording({
    metric: `${NAMESPACE}_kv_stream_queue_utilization`,
    operations: "ratio",
    help: "Share of the ingest queue in use, by lane.",
    expression: ratio(
      sum(value(STREAM_METRICS.streamQueueDepth), ["cluster", "namespace", "job", "instance", "lane"]),
      sum(value(STREAM_METRICS.streamQueueCapacity), ["cluster", "namespace", "job", "instance", "lane"]),
    ),
  }),
  workerUtilization: recording({
    metric: `${NAMESPACE}_kv_stream_worker_utilization`,
    operations: "avg",
    help: "Mean busy share of the ingest workers.",
    expression: avg(value(STREAM_METRICS.streamWorkerUtilization), INSTANCE),
  }),
  eventLatencyP99: recording({
    metric: STREAM_METRICS.streamEventLatency.name,
    operations: "p99_rate5m",
    help: "Time from socket to index that 99 % of messages stay below, by model.",
    expression: quantile(0.99, summed(bucketRate(STREAM_METRICS.streamEventLatency, "5m"), BY_MODEL)),
  }),
  lookupLatencyP99: recording({
    metric: STREAM_METRICS.streamLookupLatency.name,
    operations: "p99_rate5m",
    help: "Time that 99 % of lookups stay below, by model.",
    expression: quantile(0.99, summed(bucketRate(STREAM_METRICS.streamLookupLatency, "5m"), BY_MODEL)),
  }),
  requestRate: recording({
    metric: `${NAMESPACE}_kv_http_requests`,
    operations: "rate5m",
    help: "Requests per second, by route.",
    expression: sum(rate(SERVICE_METRICS.httpRequests, "5m"), BY_ROUTE),
  }),
  errorRatio: recording({
    metric: `${NAMESPACE}_kv_http_errors_per_request`,
    operations: "ratio_rate5m",
    help: "Share of requests answered with a 5xx status.",
    expression: ratio(
      orZero(sum(rate(SERVICE_METRICS.httpRequests, "5m", failed), INSTANCE), requests),
      requests,
    ),
  }),
  requestP50: requestQuantile(0.5),
  requestP95: requestQuantile(0.95),
  requestP99: requestQuantile(0.99),
  cpu: recording({
    metric: "process_cpu",
    operations: "ratio_rate5m",
    help: "Cores in use: 1 is one core busy all the time.",
    expression: sum(rate(PROCESS_METRICS.cpuSeconds, "5m", OF_DAEMON), INSTANCE),
  }),
  memory: recording({
    metric: "process_resident_memory",
    operations: "ratio",
    help: "Resident memory per memory that the process may use.",
    expression: ratio(
      sum(value(PROCESS_METRICS.residentMemory, OF_DAEMON), INSTANCE),
      sum(value(LIMIT_METRICS.memoryLimit), INSTANCE),
    ),
  }),
  hitRate: recording({
    metric: ROUTING_METRICS.hitRate.name,
    operations: "max",
    help: "Rolling share of a prompt's blocks that the best worker holds, by model.",
    expression: max(value(ROUTING_METRICS.hitRate), BY_MODEL),
  }),
  dropRatio: recording({
    metric: `${NAMESPACE}_kv_events_dropped_per_received`,
    operations: "ratio_rate5m",
    help: "Events dropped per event received, by model.",
    expression: ratio(orZero(dropped, received), received),
  }),
} as const;

/**
 * Everything recorded, as Prometheus groups it.
 *
 * @param objectives - settings of the objectives, whose windows have recordings of their own.
 */
export function recordingGroupsOf(objectives: KvsyncObjectives): readonly RecordingGroup[] {
  const { availability, latency } = sharesOf(objectives);
  return [{ name: "kvsync-recordings", rules: Object.values(RECORDINGS) }, availability.group, latency.group];
}

/** With kvsync's own objectives. */
export const RECORDING_GROUPS: readonly RecordingGroup[] = recordingGroupsOf(OBJECTIVES);
