/**
 * The dashboard of the daemon as a service: what callers experience, what it promised them, and what it costs the machine.
 */

import { INGEST_METRICS } from "../catalogue/ingest.ts";
import { LIMIT_METRICS } from "../catalogue/limits.ts";
import {
  ALERTMANAGER_METRICS,
  CLUSTER_METRICS,
  OF_KVSYNC,
  PROCESS_METRICS,
  PROMETHEUS_METRICS,
  REAL_DISKS,
} from "../catalogue/platform.ts";
import { SECURITY_METRICS } from "../catalogue/security.ts";
import { SERVICE_METRICS } from "../catalogue/service.ts";
import { TELEMETRY_METRICS } from "../catalogue/telemetry.ts";
import { TOKENIZER_FAULTS, TOKENIZER_METRICS } from "../catalogue/tokenizer.ts";
import { SNAPSHOT_METRICS } from "../catalogue/snapshot.ts";
import { age, equals, max, min, orZero, quantile, ratio, sum, summed } from "../promql/operators.ts";
import { recorded } from "../promql/recording.ts";
import { bucketRate, increase, rate, sumRate, value } from "../promql/series.ts";
import { OBJECTIVE_RECORDINGS, RECORDINGS } from "../rules/recordings.ts";
import { OBJECTIVES, THRESHOLDS } from "../rules/thresholds.ts";
import { dashboard, quantileQueries, query, stat, stateTimeline, table, timeseries } from "./panel.ts";
import { HERE, RATE } from "./scope.ts";

const M = SERVICE_METRICS;
const S = SNAPSHOT_METRICS;
const P = PROCESS_METRICS;
const T = TOKENIZER_METRICS;
const L = TELEMETRY_METRICS;
const C = CLUSTER_METRICS;
const A = ALERTMANAGER_METRICS;
const INSTANCE = ["instance"] as const;
const JOB = { job: { variable: "job" } } as const;

/** Service and system. */
export const SERVICE = dashboard({
  uid: "kvsync-service",
  title: "KV sync service and system",
  description:
    "Requests, errors, response times, objectives; CPU, memory, event loop, garbage collection; build and uptime.",
  variables: ["job", "instance"],
  refresh: "10s",
  rows: [
    { id: 100, title: "Now", panels: ["up", "uptime", "requestsNow", "errorsNow", "builds"] },
    {
      id: 101,
      title: "Requests",
      panels: ["requests", "errorRatio", "errorCodes", "latency", "latencyByRoute", "size"],
    },
    {
      id: 104,
      title: "Tokenizer",
      panels: [
        "tokenizerOutcomes",
        "tokenizerFailures",
        "tokenizerLatency",
        "tokenizerCache",
        "tokenizerCacheBytes",
        "tokenizerCircuit",
      ],
    },
    { id: 102, title: "Objectives", panels: ["availability", "latencyObjective"] },
    {
      id: 105,
      title: "Snapshots and health",
      panels: [
        "health",
        "snapshotAge",
        "snapshotSize",
        "snapshotEntries",
        "snapshotOperations",
        "snapshotErrors",
        "snapshotDuration",
      ],
    },
    { id: 106, title: "Log and traces", panels: ["logLinesDropped", "spans"] },
    {
      id: 130,
      title: "Security",
      panels: ["refusedCallers", "securityFiles", "certificate", "refusedConnections", "engineHandshakes"],
    },
    {
      id: 103,
      title: "System",
      panels: ["cpu", "memory", "memoryShare", "heap", "eventLoop", "gc", "descriptors", "scrape"],
    },
    {
      id: 107,
      title: "Platform (other exporters; empty where they are not scraped)",
      panels: [
        "podPhases",
        "podRestarts",
        "deployment",
        "autoscaler",
        "containerCpu",
        "disk",
        "notifications",
      ],
    },
  ],
  panels: {
    up: stateTimeline({
      id: 1,
      title: "Replicas up",
      shows: "Whether Prometheus could scrape each replica.",
      normal: "Up all the time.",
      width: 8,
      height: 5,
      queries: [query(max(value(PROMETHEUS_METRICS.up, HERE), INSTANCE), (label) => label("instance"))],
      states: [
        { value: 0, text: "down", color: "red" },
        { value: 1, text: "up", color: "green" },
      ],
    }),
    uptime: stat({
      id: 2,
      title: "Youngest process",
      shows: "Time since the last start of any chosen replica.",
      normal: "Grows; a young process after no rollout is a crash.",
      width: 4,
      height: 5,
      queries: [query(min(age(value(P.startTime, HERE)), []), "uptime")],
    }),
    requestsNow: stat({
      id: 3,
      title: "Requests per second",
      shows: "HTTP requests over the last minute, all routes.",
      normal: "Follows the gateways' traffic.",
      width: 4,
      height: 5,
      queries: [query(sum(recorded(RECORDINGS.requestRate, HERE), []), "requests/s")],
    }),
    errorsNow: stat({
      id: 4,
      title: "Error ratio",
      shows: "Share of requests answered with a 5xx status over five minutes, worst replica.",
      normal: "0 %.",
      width: 4,
      height: 5,
      queries: [query(max(recorded(RECORDINGS.errorRatio, HERE), []), "errors")],
      levels: { warning: 0.01, critical: THRESHOLDS.requestErrorRatio, bad: "above" },
    }),
    builds: table({
      id: 5,
      title: "Builds",
      shows: "Which version runs where.",
      normal: "One version, two during a rollout.",
      width: 4,
      height: 5,
      columns: [
        {
          title: "Runs",
          query: query(max(value(M.buildInfo, HERE), ["instance", "version", "node_version"]), "build"),
        },
      ],
    }),
    requests: timeseries({
      id: 6,
      title: "Requests by route",
      shows: "HTTP requests per second, by route template.",
      normal: "Mostly matches.",
      width: 8,
      height: 8,
      queries: [query(sum(recorded(RECORDINGS.requestRate, HERE), ["route"]), (label) => label("route"))],
    }),
    errorRatio: timeseries({
      id: 7,
      title: "Error ratio by replica",
      shows: "Share of requests answered with a 5xx status over five minutes.",
      normal: "0 %.",
      width: 8,
      height: 8,
      queries: [query(max(recorded(RECORDINGS.errorRatio, HERE), INSTANCE), (label) => label("instance"))],
      levels: { warning: 0.01, critical: THRESHOLDS.requestErrorRatio, bad: "above" },
    }),
    errorCodes: timeseries({
      id: 8,
      title: "Errors by code",
      shows:
        "Requests per second answered with a problem document, by its code. 4xx codes are callers' mistakes.",
      normal: "0; a caller with an old model list shows as unknown_model.",
      width: 8,
      height: 8,
      queries: [
        query(
          sum(rate(M.httpRequestErrors, RATE, HERE), ["route", "code"]),
          (label) => `${label("code")} ${label("route")}`,
        ),
      ],
    }),
    latency: timeseries({
      id: 9,
      title: "Response time",
      shows: "Request time over all routes, slowest route of each quantile.",
      normal: "p95 below ten milliseconds.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: [
        query(max(recorded(RECORDINGS.requestP50, HERE), []), "p50"),
        query(max(recorded(RECORDINGS.requestP95, HERE), []), "p95"),
        query(max(recorded(RECORDINGS.requestP99, HERE), []), "p99"),
      ],
      levels: { warning: THRESHOLDS.requestSeconds, bad: "above" },
    }),
    latencyByRoute: timeseries({
      id: 10,
      title: "Response time p95 by route",
      shows: "Request time that 95 % stay below, by route template.",
      normal: "Matches below ten milliseconds; dumps take as long as they are large.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: [query(max(recorded(RECORDINGS.requestP95, HERE), ["route"]), (label) => label("route"))],
      levels: { warning: THRESHOLDS.requestSeconds, bad: "above" },
    }),
    size: timeseries({
      id: 11,
      title: "Response size p95 by route",
      shows: "Bytes of response bodies that 95 % stay below, by route template.",
      normal: "Kilobytes; large fleets without top_k give large answers.",
      width: 8,
      height: 8,
      queries: [
        query(quantile(0.95, summed(bucketRate(M.httpResponseSize, RATE, HERE), ["route"])), (label) =>
          label("route"),
        ),
      ],
    }),
    tokenizerOutcomes: timeseries({
      id: 22,
      title: "Tokenizer requests",
      shows: "Lookups by prompt or messages that needed the remote tokenizer, per second, by how that ended.",
      normal:
        "All ok; refused when clients send what the model's template cannot render. Nothing at all when gateways send tokens.",
      width: 8,
      height: 8,
      queries: [query(sum(rate(T.requests, RATE, HERE), ["outcome"]), (label) => label("outcome"))],
    }),
    tokenizerFailures: timeseries({
      id: 23,
      title: "Tokenizer failure ratio",
      shows: "Share of these that the tokenizer did not answer in time or at all, by replica.",
      normal: "0 %.",
      width: 8,
      height: 8,
      queries: [
        query(
          ratio(
            sum(rate(T.requests, RATE, { ...HERE, outcome: TOKENIZER_FAULTS }), INSTANCE),
            sum(rate(T.requests, RATE, HERE), INSTANCE),
          ),
          (label) => label("instance"),
        ),
      ],
      levels: { warning: THRESHOLDS.tokenizerFailureRatio, bad: "above" },
    }),
    tokenizerLatency: timeseries({
      id: 24,
      title: "Tokenizer latency",
      shows: "Time of one question to the remote tokenizer, a second attempt included.",
      normal: "Milliseconds; tens of them for prompts of a hundred thousand tokens.",
      width: 8,
      height: 8,
      queries: quantileQueries(summed(bucketRate(T.requestDuration, RATE, HERE), []), [0.5, 0.99]),
    }),
    tokenizerCache: timeseries({
      id: 25,
      title: "Tokenizer cache lookups",
      shows: "Lookups by prompt or messages per second, by whether their tokens were remembered.",
      normal: "Mostly misses for distinct prompts; hits when gateways ask several times for one request.",
      width: 12,
      height: 8,
      queries: [query(sum(rate(T.cacheLookups, RATE, HERE), ["result"]), (label) => label("result"))],
    }),
    tokenizerCacheBytes: timeseries({
      id: 27,
      title: "Tokenizer cache memory",
      shows: "Memory of remembered tokens, by replica.",
      normal: "Rises to tokenizer.cache_bytes and stays there.",
      width: 6,
      height: 8,
      queries: [query(sum(value(T.cacheBytes, HERE), INSTANCE), (label) => label("instance"))],
    }),
    tokenizerCircuit: stateTimeline({
      id: 26,
      title: "Tokenizer circuit",
      shows: "Whether the tokenizer is asked at all, by replica.",
      normal:
        "Closed. Open after several failures in a row, then tried every few seconds while lookups by prompt arrive.",
      width: 6,
      height: 8,
      queries: [query(max(value(T.circuitState, HERE), INSTANCE), (label) => label("instance"))],
      states: [
        { value: 0, text: "closed", color: "green" },
        { value: 1, text: "half open", color: "yellow" },
        { value: 2, text: "open", color: "red" },
      ],
    }),
    availability: timeseries({
      id: 12,
      title: "Availability: failed share of matches",
      shows: `Share of match requests that failed. The objective allows ${OBJECTIVES.budgets.availability * 100} % over 30 days.`,
      normal: "Below the line of the objective.",
      width: 12,
      height: 8,
      queries: [
        query(max(recorded(OBJECTIVE_RECORDINGS.availability["1h"], JOB), []), "1 hour"),
        query(max(recorded(OBJECTIVE_RECORDINGS.availability["1d"], JOB), []), "1 day"),
      ],
      levels: { warning: OBJECTIVES.budgets.availability, bad: "above" },
    }),
    latencyObjective: timeseries({
      id: 13,
      title: "Latency: slow share of matches",
      shows: `Share of match requests that took longer than ${OBJECTIVES.latencySeconds * 1000} ms. The objective allows ${OBJECTIVES.budgets.latency * 100} % over 30 days.`,
      normal: "Below the line of the objective.",
      width: 12,
      height: 8,
      queries: [
        query(max(recorded(OBJECTIVE_RECORDINGS.latency["1h"], JOB), []), "1 hour"),
        query(max(recorded(OBJECTIVE_RECORDINGS.latency["1d"], JOB), []), "1 day"),
      ],
      levels: { warning: OBJECTIVES.budgets.latency, bad: "above" },
    }),
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
          query: query(max(equals(value(M.healthCheck, HERE), 1), ["instance", "check", "status"]), "check"),
        },
      ],
    }),
    logLinesDropped: timeseries({
      id: 50,
      title: "Log lines left out",
      shows: "Lines per second that a thread had to say at the present level and its budget did not allow.",
      normal: "0; at the levels 2 to 5 under load the log is a sample.",
      width: 12,
      height: 8,
      queries: [
        query(
          sum(rate(L.logLinesDropped, RATE, HERE), ["instance", "thread"]),
          (label) => `${label("instance")} ${label("thread")}`,
        ),
      ],
    }),
    spans: timeseries({
      id: 51,
      title: "Spans",
      shows: "Sampled spans per second by what became of them. Empty while tracing is off.",
      normal: "Only exported.",
      width: 12,
      height: 8,
      queries: [query(sum(rate(L.spans, RATE, HERE), ["outcome"]), (label) => label("outcome"))],
    }),
    snapshotAge: timeseries({
      id: 41,
      title: "Snapshot age",
      shows: "Time since the moment that the last good snapshot shows. Empty where none are kept.",
      normal: "Up to the interval, one minute unless set otherwise.",
      width: 8,
      height: 8,
      queries: [query(max(value(S.snapshotAge, HERE), INSTANCE), (label) => label("instance"))],
      levels: { warning: THRESHOLDS.snapshotAgeSeconds, bad: "above" },
    }),
    snapshotSize: timeseries({
      id: 42,
      title: "Snapshot size",
      shows: "Bytes of the last snapshot. Two are kept, and a third is written beside them.",
      normal: "24 bytes per holder of a block.",
      width: 8,
      height: 8,
      queries: [query(max(value(S.snapshotSize, HERE), INSTANCE), (label) => label("instance"))],
    }),
    snapshotEntries: timeseries({
      id: 43,
      title: "Snapshot entries",
      shows: "Holders of blocks in the last snapshot.",
      normal: "Follows the index.",
      width: 6,
      height: 8,
      queries: [query(max(value(S.snapshotEntries, HERE), INSTANCE), (label) => label("instance"))],
    }),
    snapshotOperations: timeseries({
      id: 44,
      title: "Snapshot operations",
      shows: "Snapshots made, read and fetched per second, by outcome.",
      normal: "One a minute is 0.017; none failed.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(rate(S.snapshotOperations, RATE, HERE), ["operation", "status"]),
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
      queries: [query(sum(rate(S.snapshotErrors, RATE, HERE), ["operation"]), (label) => label("operation"))],
    }),
    snapshotDuration: timeseries({
      id: 46,
      title: "Snapshot duration p95",
      shows: "Time that 95 % of the operations stay below.",
      normal: "One to two seconds per ten million holders.",
      width: 6,
      height: 8,
      queries: [
        query(quantile(0.95, summed(bucketRate(S.snapshotDuration, RATE, HERE), ["operation"])), (label) =>
          label("operation"),
        ),
      ],
    }),
    refusedCallers: timeseries({
      id: 131,
      title: "Refused callers",
      shows: "Requests per second refused for their token, its scope, or the caller's rate.",
      normal: "0.",
      width: 8,
      height: 8,
      queries: [
        query(sum(rate(SECURITY_METRICS.accessRefusals, RATE, HERE), ["code"]), (label) => label("code")),
      ],
      levels: { warning: THRESHOLDS.refusedCallersPerSecond, bad: "above" },
    }),
    securityFiles: stateTimeline({
      id: 132,
      title: "Files of tokens and certificates",
      shows: "Whether what lies on the disk is what is in use.",
      normal: "In use; refused after a rotation that went wrong.",
      width: 8,
      height: 8,
      queries: [
        query(
          min(value(SECURITY_METRICS.fileUsable, HERE), ["instance", "file"]),
          (label) => `${label("instance")} ${label("file")}`,
        ),
      ],
      states: [
        { value: 0, text: "refused", color: "red" },
        { value: 1, text: "in use", color: "green" },
      ],
    }),
    certificate: stat({
      id: 133,
      title: "Oldest certificate",
      shows:
        "Time since the certificate that ends first has ended: negative as long as it is good. Empty without TLS.",
      normal: "Minus two weeks or less.",
      width: 8,
      height: 8,
      queries: [query(max(age(value(SECURITY_METRICS.certificateExpiry, HERE)), []), "since its end")],
      levels: { warning: -THRESHOLDS.certificateSecondsLeft, critical: 0, bad: "above" },
    }),
    refusedConnections: timeseries({
      id: 134,
      title: "Refused connections",
      shows: "HTTP connections per second closed at once because there were too many.",
      normal: "0.",
      width: 12,
      height: 8,
      queries: [
        query(sum(rate(SECURITY_METRICS.connectionsRefused, RATE, HERE), INSTANCE), (label) =>
          label("instance"),
        ),
      ],
    }),
    engineHandshakes: timeseries({
      id: 135,
      title: "Engines with other ZeroMQ security",
      shows:
        "Connections to engines per second that failed for CURVE: the engine has another key, or one side does not speak it. The metric has which, as reason.",
      normal: "0.",
      width: 12,
      height: 8,
      queries: [
        query(
          orZero(
            sum(rate(SECURITY_METRICS.engineHandshakes, RATE, HERE), ["pod"]),
            sum(rate(INGEST_METRICS.connections, RATE, HERE), ["pod"]),
          ),
          (label) => label("pod"),
        ),
      ],
    }),
    cpu: timeseries({
      id: 14,
      title: "CPU",
      shows: "Cores in use: 100 % is one core. The main thread answers, ingest workers follow the engines.",
      normal: "Well below the number of threads that work: one, and one per ingest worker.",
      width: 6,
      height: 8,
      queries: [query(max(recorded(RECORDINGS.cpu, HERE), INSTANCE), (label) => label("instance"))],
    }),
    memory: timeseries({
      id: 15,
      title: "Memory",
      shows: "Resident memory, index included, beside the limit.",
      normal: "Level once the fleet's caches are full.",
      width: 6,
      height: 8,
      queries: [
        query(sum(value(P.residentMemory, HERE), INSTANCE), (label) => label("instance")),
        query(sum(value(LIMIT_METRICS.memoryLimit, HERE), INSTANCE), (label) => `${label("instance")} limit`),
      ],
    }),
    memoryShare: timeseries({
      id: 16,
      title: "Memory share",
      shows: "Resident memory per memory that the process may use.",
      normal: "Below 80 %.",
      width: 6,
      height: 8,
      queries: [query(max(recorded(RECORDINGS.memory, HERE), INSTANCE), (label) => label("instance"))],
      levels: { warning: THRESHOLDS.memoryRatio, bad: "above" },
    }),
    heap: timeseries({
      id: 17,
      title: "JavaScript heap",
      shows: "Heap in use by the main thread; the index is not in it.",
      normal: "A saw-tooth around a level that does not rise.",
      width: 6,
      height: 8,
      queries: [query(sum(value(P.heapUsed, HERE), INSTANCE), (label) => label("instance"))],
    }),
    eventLoop: timeseries({
      id: 18,
      title: "Event-loop lag",
      shows:
        "How late the main thread's event loop is, beside the limit of its p99: every request waits this long on top.",
      normal: "p99 below 20 ms.",
      width: 6,
      height: 8,
      queries: [
        query(max(value(P.eventLoopLagP99, HERE), INSTANCE), (label) => `${label("instance")} p99`),
        query(max(value(P.eventLoopLagMax, HERE), INSTANCE), (label) => `${label("instance")} max`),
        query(
          max(value(LIMIT_METRICS.eventLoopLagLimit, HERE), INSTANCE),
          (label) => `${label("instance")} limit`,
        ),
      ],
    }),
    gc: timeseries({
      id: 19,
      title: "Garbage collection",
      shows: "Share of time that the main thread pauses for garbage collection, by kind.",
      normal: "Below 2 %, almost all minor.",
      width: 6,
      height: 8,
      stacked: true,
      queries: [query(sum(sumRate(P.gcDuration, RATE, HERE), ["kind"]), (label) => label("kind"))],
    }),
    descriptors: timeseries({
      id: 20,
      title: "File descriptors",
      shows: "Open file descriptors per allowed ones; each engine stream takes a few.",
      normal: "Below 50 %.",
      width: 6,
      height: 8,
      queries: [
        query(
          ratio(
            sum(value(P.openFileDescriptors, HERE), INSTANCE),
            sum(value(P.maxFileDescriptors, HERE), INSTANCE),
          ),
          (label) => label("instance"),
        ),
      ],
      levels: { warning: THRESHOLDS.fileDescriptorRatio, bad: "above" },
    }),
    scrape: timeseries({
      id: 21,
      title: "Scrape duration",
      shows:
        "How long Prometheus takes to read this daemon's metrics; the event loop is busy for part of it.",
      normal: "Below 100 ms.",
      width: 6,
      height: 8,
      queries: [
        query(max(value(PROMETHEUS_METRICS.scrapeDuration, HERE), INSTANCE), (label) => label("instance")),
      ],
    }),
    podPhases: timeseries({
      id: 60,
      title: "Pods by phase",
      shows: "The phase that each pod of kvsync is in, from kube-state-metrics.",
      normal: "All Running.",
      width: 6,
      height: 8,
      stacked: true,
      queries: [
        query(max(equals(value(C.podPhase, { pod: OF_KVSYNC }), 1), ["namespace", "pod", "phase"]), (label) =>
          [label("namespace"), label("pod"), label("phase")].join(" "),
        ),
      ],
    }),
    podRestarts: timeseries({
      id: 61,
      title: "Container restarts",
      shows: "Restarts of kvsync's containers within the look-back, from kube-state-metrics.",
      normal: "0; roll-outs make new containers, and are none.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(increase(C.containerRestarts, RATE, { pod: OF_KVSYNC }), ["namespace", "pod", "container"]),
          (label) => [label("namespace"), label("pod"), label("container")].join(" "),
        ),
      ],
    }),
    deployment: timeseries({
      id: 62,
      title: "Replicas of deployments",
      shows:
        "Replicas that kvsync's deployments ask for, and those that are available, from kube-state-metrics.",
      normal: "The same; apart for moments of a roll-out.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(value(C.deploymentReplicasWanted, { deployment: OF_KVSYNC }), ["namespace", "deployment"]),
          (label) => `${label("namespace")} ${label("deployment")} wanted`,
        ),
        query(
          sum(value(C.deploymentReplicasAvailable, { deployment: OF_KVSYNC }), ["namespace", "deployment"]),
          (label) => `${label("namespace")} ${label("deployment")} available`,
        ),
      ],
    }),
    autoscaler: timeseries({
      id: 63,
      title: "Autoscaler",
      shows:
        "Replicas that kvsync's autoscalers have now, and the most that they may ask for, from kube-state-metrics.",
      normal: "Below the most.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(value(C.autoscalerReplicas, { horizontalpodautoscaler: OF_KVSYNC }), [
            "namespace",
            "horizontalpodautoscaler",
          ]),
          (label) => `${label("namespace")} ${label("horizontalpodautoscaler")} now`,
        ),
        query(
          sum(value(C.autoscalerMaxReplicas, { horizontalpodautoscaler: OF_KVSYNC }), [
            "namespace",
            "horizontalpodautoscaler",
          ]),
          (label) => `${label("namespace")} ${label("horizontalpodautoscaler")} most`,
        ),
      ],
    }),
    containerCpu: timeseries({
      id: 64,
      title: "CPU per limit",
      shows: "CPU that kvsync's containers use per CPU that their limit allows, from cAdvisor.",
      normal: "Below 70 %; near 100 % the kernel pauses the container.",
      width: 8,
      height: 8,
      queries: [
        query(
          ratio(
            sum(rate(C.containerCpu, RATE, { pod: OF_KVSYNC }), ["namespace", "pod", "container"]),
            sum(value(C.containerCpuLimit, { resource: "cpu", pod: OF_KVSYNC }), [
              "namespace",
              "pod",
              "container",
            ]),
          ),
          (label) => [label("namespace"), label("pod"), label("container")].join(" "),
        ),
      ],
      levels: { warning: THRESHOLDS.cpuRatio, bad: "above" },
    }),
    disk: timeseries({
      id: 65,
      title: "Disk space free",
      shows: "Share of each file system that is free, from node-exporter.",
      normal: "Above 20 %.",
      width: 8,
      height: 8,
      queries: [
        query(
          ratio(
            max(value(C.filesystemAvailable, REAL_DISKS), ["instance", "mountpoint"]),
            max(value(C.filesystemSize, REAL_DISKS), ["instance", "mountpoint"]),
          ),
          (label) => `${label("instance")} ${label("mountpoint")}`,
        ),
      ],
      levels: { warning: THRESHOLDS.diskFreeRatio, bad: "below" },
    }),
    notifications: timeseries({
      id: 66,
      title: "Notifications",
      shows: "Notifications per second that Alertmanager attempted, and those that failed, by integration.",
      normal: "None failed.",
      width: 8,
      height: 8,
      queries: [
        query(
          sum(rate(A.notifications, RATE), ["integration"]),
          (label) => `${label("integration")} attempted`,
        ),
        query(
          sum(rate(A.notificationsFailed, RATE), ["integration"]),
          (label) => `${label("integration")} failed`,
        ),
      ],
    }),
  },
});
