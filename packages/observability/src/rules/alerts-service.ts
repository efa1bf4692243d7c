/**
 * Alerts about the daemon as a process and as a service.
 */

import { PROCESS_METRICS, PROMETHEUS_METRICS } from "../catalogue/platform.ts";
import { LIMIT_METRICS } from "../catalogue/limits.ts";
import { SERVICE_METRICS } from "../catalogue/service.ts";
import { TOKENIZER_FAULTS, TOKENIZER_METRICS } from "../catalogue/tokenizer.ts";
import { SNAPSHOT_METRICS } from "../catalogue/snapshot.ts";
import { panelOf } from "../dashboards/panel.ts";
import { SERVICE } from "../dashboards/service.ts";
import { above, aboveLimit, both, equals, max, ratio, sum } from "../promql/operators.ts";
import { recorded } from "../promql/recording.ts";
import { rate, value } from "../promql/series.ts";
import { alert, type Alert } from "./alert.ts";
import { ask, lastWords, logLines } from "./commands.ts";
import { RECORDINGS } from "./recordings.ts";
import { DAEMON_JOB, REQUEST_FLOOR_PER_SECOND, THRESHOLDS } from "./thresholds.ts";
import { distributed, growing, steady, TARGET } from "./trial.ts";

const INSTANCE = ["job", "instance"] as const;
const daemon = { job: DAEMON_JOB } as const;
const requests = sum(rate(SERVICE_METRICS.httpRequests, "5m"), INSTANCE);

const tokenizations = sum(rate(TOKENIZER_METRICS.requests, "5m"), INSTANCE);
const tokenizerFaults = sum(rate(TOKENIZER_METRICS.requests, "5m", { outcome: TOKENIZER_FAULTS }), INSTANCE);

/** Alerts of the process and its HTTP rim. */
export const SERVICE_ALERTS: readonly Alert[] = [
  alert({
    name: "SyncDaemonDown",
    when: equals(max(value(PROMETHEUS_METRICS.up, daemon), INSTANCE), 0),
    for: "30s",
    severity: "critical",
    component: "process",
    summary: "A replica of the sync daemon does not answer.",
    description: ({ label }) => `Prometheus cannot scrape ${label("instance")} (${label("job")}).`,
    panel: panelOf(SERVICE, "up"),
    runbook: {
      meaning:
        "The process is gone, hangs, or cannot be reached. Its other alerts are silenced meanwhile, since they would only repeat this one.",
      impact: "Gateways lose this replica's answers; with a single replica, cache-aware routing is off.",
      diagnosis: [
        { text: "One replica, or all?", query: sum(value(PROMETHEUS_METRICS.up, daemon), ["job"]).text },
        {
          text: "What did it say last?",
          command: lastWords(40),
        },
        { text: "Does it answer at all?", command: ask("/livez") },
      ],
      mitigation: [
        {
          cause: "Killed for memory.",
          fix: "Raise the limit, or lower the index's budget; see HighMemoryUsage.",
        },
        { cause: "Exit code 2: unusable settings.", fix: "The log names the setting and what is expected." },
        {
          cause: "Exit code 1: an assertion.",
          fix: "It restarts and rebuilds by itself; report the log line.",
        },
      ],
      escalation: "kvsync's maintainers when it does not come back by itself.",
    },
    trial: {
      series: (level) => [steady(PROMETHEUS_METRICS.up, {}, level)],
      fires: 0,
      calm: 1,
      labels: { ...TARGET },
      settle: "1m",
    },
  }),
  alert({
    name: "HighMemoryUsage",
    when: above(recorded(RECORDINGS.memory), THRESHOLDS.memoryRatio),
    for: "2m",
    severity: "warning",
    component: "process",
    summary: "The daemon is close to its memory limit.",
    description: ({ label, value: share }) => `${label("instance")} uses ${share} of the memory it may use.`,
    panel: panelOf(SERVICE, "memoryShare"),
    runbook: {
      meaning: "Resident memory approaches the container's limit; beyond it the kernel ends the process.",
      impact: "A kill means a restart and seconds of unknown answers.",
      diagnosis: [
        { text: "Index or heap?", query: sum(value(PROCESS_METRICS.heapUsed), ["instance"]).text },
        { text: "The course of it.", query: recorded(RECORDINGS.memory).text },
      ],
      mitigation: [
        {
          cause: "The fleet has grown.",
          fix: "Raise the container's limit, or lower the index's memory budget so that it evicts instead.",
        },
        { cause: "The heap rises without end.", fix: "Restart, and report: it is a leak." },
      ],
      escalation: "kvsync's maintainers for a rising heap.",
    },
    trial: {
      series: (level) => [
        steady(PROCESS_METRICS.residentMemory, {}, level * 1e9),
        steady(LIMIT_METRICS.memoryLimit, {}, 1e9),
      ],
      fires: 0.81,
      calm: 0.79,
      labels: { ...TARGET },
      settle: "1m",
    },
  }),
  alert({
    name: "HighErrorRate",
    when: both(
      above(recorded(RECORDINGS.errorRatio), THRESHOLDS.requestErrorRatio),
      above(requests, REQUEST_FLOOR_PER_SECOND),
    ),
    for: "2m",
    severity: "critical",
    component: "http",
    summary: "Many requests fail.",
    description: ({ label, value: share }) =>
      `${label("instance")} answers ${share} of requests with a server error.`,
    panel: panelOf(SERVICE, "errorRatio"),
    runbook: {
      meaning: "More than one request in twenty ends in a 5xx status.",
      impact: "Gateways fall back for these requests.",
      diagnosis: [
        {
          text: "Which code, which route?",
          query: sum(rate(SERVICE_METRICS.httpRequestErrors, "5m"), ["route", "code"]).text,
        },
        { text: "Is it ready?", command: ask("/readyz?verbose") },
      ],
      mitigation: [
        {
          cause: "503 from readyz only: engines known at start are not in sync.",
          fix: "See StreamUntrusted; take the engine off the list if it is gone.",
        },
        { cause: "500: a defect.", fix: "Restart the replica; report the log line with its code." },
      ],
      escalation: "Page kvsync's maintainers.",
    },
    trial: {
      series: (level) => [
        growing(
          SERVICE_METRICS.httpRequests,
          { method: "POST", route: "/api/v1/match", status: "500" },
          level * 100,
        ),
        growing(
          SERVICE_METRICS.httpRequests,
          { method: "POST", route: "/api/v1/match", status: "200" },
          (1 - level) * 100,
        ),
      ],
      fires: 0.051,
      calm: 0.049,
      labels: { ...TARGET },
    },
  }),
  alert({
    name: "HighResponseTime",
    when: above(recorded(RECORDINGS.requestP95), THRESHOLDS.requestSeconds),
    for: "5m",
    severity: "warning",
    component: "http",
    summary: "Requests take long.",
    description: ({ label, value: time }) =>
      `One request in twenty to ${label("route")} takes ${label("instance")} more than ${time}.`,
    panel: panelOf(SERVICE, "latencyByRoute"),
    runbook: {
      meaning: "The slowest twentieth of requests takes more than a second.",
      impact: "A gateway that waits this long gains nothing from the answer.",
      diagnosis: [
        { text: "Every route, or dumps only?", query: recorded(RECORDINGS.requestP95).text },
        { text: "Lookup or something else?", query: recorded(RECORDINGS.lookupLatencyP99).text },
      ],
      mitigation: [
        { cause: "Dumps of a large index.", fix: "Expected; they do not hold up matches." },
        {
          cause: "The remote tokenizer is slow.",
          fix: "Send token ids, or give the tokenizer more capacity.",
        },
        { cause: "Event-loop lag.", fix: "See HighEventLoopLag." },
      ],
      escalation: "kvsync's maintainers when matches with token ids are slow.",
    },
    trial: {
      series: (level) =>
        distributed(
          SERVICE_METRICS.httpRequestDuration,
          { method: "POST", route: "/api/v1/match" },
          0.95,
          level,
        ),
      fires: 1.01,
      calm: 0.99,
      labels: { ...TARGET, route: "/api/v1/match" },
    },
  }),
  alert({
    name: "TokenizerUnavailable",
    when: both(
      above(ratio(tokenizerFaults, tokenizations), THRESHOLDS.tokenizerFailureRatio),
      above(tokenizations, REQUEST_FLOOR_PER_SECOND),
    ),
    for: "2m",
    severity: "warning",
    component: "routing",
    summary: "The remote tokenizer does not answer.",
    description: ({ label, value: share }) =>
      `${label("instance")} gets no tokens for ${share} of the lookups by prompt or messages.`,
    panel: panelOf(SERVICE, "tokenizerFailures"),
    runbook: {
      meaning:
        "The tokenizer is down, slow, overloaded or answers something else than tokens. Refusals of single prompts do not count.",
      impact:
        'These lookups answer "fallback" with the reason: their requests are routed without cache information. Lookups by tokens or hashes are not affected.',
      diagnosis: [
        {
          text: "How do they fail?",
          query: sum(rate(TOKENIZER_METRICS.requests, "5m"), ["instance", "outcome"]).text,
        },
        {
          text: "Is it left alone (2) at the moment?",
          query: max(value(TOKENIZER_METRICS.circuitState), ["instance"]).text,
        },
        {
          text: "Does it answer by hand?",
          command:
            'curl -s -m 2 http://TOKENIZER/tokenize -H \'content-type: application/json\' -d \'{"model":"MODEL","prompt":"hello"}\'',
        },
      ],
      mitigation: [
        {
          cause: "tokenizer_unavailable or circuit_open: it is down, or the endpoint is wrong.",
          fix: "Start it, or correct AIBRIX_REMOTE_TOKENIZER_ENDPOINT. The circuit closes by itself with the first good answer.",
        },
        {
          cause: "tokenizer_timeout or tokenizer_overloaded: it is too slow for the load.",
          fix: "Give it capacity of its own (an engine busy with inference tokenizes late), raise tokenizer.connections, or have gateways send tokens.",
        },
        {
          cause: "tokenizer_malformed: the endpoint is something else.",
          fix: "Point it at a server with vLLM's POST /tokenize.",
        },
      ],
      escalation: "The owners of the tokenizer; kvsync's maintainers when it answers well by hand.",
    },
    trial: {
      series: (level) => [
        growing(TOKENIZER_METRICS.requests, { outcome: "circuit_open" }, level * 100),
        growing(TOKENIZER_METRICS.requests, { outcome: "ok" }, (1 - level) * 100),
      ],
      fires: 0.11,
      calm: 0.09,
      labels: { ...TARGET },
    },
  }),
  alert({
    name: "HighEventLoopLag",
    when: aboveLimit(
      max(value(PROCESS_METRICS.eventLoopLagP99, daemon), INSTANCE),
      max(value(LIMIT_METRICS.eventLoopLagLimit), INSTANCE),
      LIMIT_METRICS.eventLoopLagLimit.name,
    ),
    for: "2m",
    severity: "warning",
    component: "process",
    summary: "The daemon's main thread is held up.",
    description: ({ label, value: time }) =>
      `The event loop of ${label("instance")} runs up to ${time} late.`,
    panel: panelOf(SERVICE, "eventLoop"),
    runbook: {
      meaning:
        "Something keeps the main thread from its next event for longer than health.event_loop_lag_ms allows: long synchronous work, garbage collection, or no CPU.",
      impact: "Every request waits this much longer; probes may fail.",
      diagnosis: [
        {
          text: "Garbage collection?",
          query: "sum by (instance, kind) (rate(nodejs_gc_duration_seconds_sum[5m]))",
        },
        { text: "CPU?", query: recorded(RECORDINGS.cpu).text },
        { text: "The limit.", query: max(value(LIMIT_METRICS.eventLoopLagLimit), INSTANCE).text },
      ],
      mitigation: [
        {
          cause: "CPU limit below one core.",
          fix: "Raise it: main thread and ingest workers need a core each.",
        },
        { cause: "Very large JSON bodies.", fix: "Send prompts as binary bodies." },
      ],
      escalation: "kvsync's maintainers, with a CPU profile.",
    },
    trial: {
      series: (level) => [
        steady(PROCESS_METRICS.eventLoopLagP99, {}, level),
        steady(LIMIT_METRICS.eventLoopLagLimit, {}, 0.1),
      ],
      fires: 0.11,
      calm: 0.09,
      labels: { ...TARGET },
      settle: "1m",
    },
  }),
  alert({
    name: "StorageUnhealthy",
    when: equals(
      max(value(SERVICE_METRICS.healthCheck, { check: "snapshot_store", status: "unhealthy" }), INSTANCE),
      1,
    ),
    for: "30s",
    severity: "critical",
    component: "snapshot",
    summary: "The folder for snapshots does not take and give back a file.",
    description: ({ label }) =>
      `The snapshot store's check fails at ${label("instance")}: a restart now would begin from an old snapshot, or from none.`,
    panel: panelOf(SERVICE, "health"),
    runbook: {
      meaning:
        "A small file could not be written to the snapshot folder or did not read back the same, or the last snapshot could not be written: the check's message says which.",
      impact:
        "None while the daemon runs. After a restart the index is rebuilt from the engines' histories, which may not reach far enough.",
      diagnosis: [
        {
          text: "What exactly fails?",
          command: `${ask("/health")} | jq .checks.snapshot_store`,
        },
        { text: "Since when?", query: sum(rate(SNAPSHOT_METRICS.snapshotErrors, "5m"), ["operation"]).text },
      ],
      mitigation: [
        {
          cause: "ENOSPC: the volume is full.",
          fix: "Enlarge it: it takes three times the snapshot's size.",
        },
        {
          cause: "EROFS or EACCES: read-only, or another owner.",
          fix: "Mount it writable for the daemon's user.",
        },
        {
          cause: "EIO: the disk.",
          fix: "Move the pod; a replica without snapshots can warm from a sibling.",
        },
      ],
      escalation: "Whoever owns the cluster's storage.",
    },
    trial: {
      series: (level) => [
        steady(SERVICE_METRICS.healthCheck, { check: "snapshot_store", status: "unhealthy" }, level),
      ],
      fires: 1,
      calm: 0,
      labels: { ...TARGET },
    },
  }),
  alert({
    name: "SnapshotStale",
    when: above(max(value(SNAPSHOT_METRICS.snapshotAge), INSTANCE), THRESHOLDS.snapshotAgeSeconds),
    for: "5m",
    severity: "warning",
    component: "snapshot",
    summary: "The last good snapshot is old.",
    description: ({ label, value: age }) =>
      `The last good snapshot of ${label("instance")} shows the index as it was ${age} ago.`,
    panel: panelOf(SERVICE, "snapshotAge"),
    runbook: {
      meaning:
        "Snapshots fail, take longer than their interval, or the interval is set longer than this alert expects.",
      impact:
        "A restart has to replay more, and where the engines' histories are shorter than that, begins cold.",
      diagnosis: [
        {
          text: "Do they fail?",
          query: sum(rate(SNAPSHOT_METRICS.snapshotErrors, "5m"), ["operation"]).text,
        },
        { text: "Why?", command: logLines("snapshot_failed", 5) },
      ],
      mitigation: [
        { cause: "They fail.", fix: "See StorageUnhealthy." },
        {
          cause: "snapshot.interval_seconds is long on purpose.",
          fix: "Raise the alert's threshold with it.",
        },
      ],
      escalation: "kvsync's maintainers when the log shows no reason.",
    },
    trial: {
      series: (level) => [steady(SNAPSHOT_METRICS.snapshotAge, {}, level)],
      fires: THRESHOLDS.snapshotAgeSeconds + 1,
      calm: THRESHOLDS.snapshotAgeSeconds,
      labels: { ...TARGET },
    },
  }),
];
